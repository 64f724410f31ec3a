// Package cluster runs a real one-node Kubernetes for tests: etcd, the API
// server, the controller manager, the scheduler, kube-proxy, kubelet and
// containerd, each a process of this machine, with real pods and real Services.
//
// The story of a run. The program that asks for a cluster runs three times. The
// outer run builds what is missing, makes a network namespace and starts the
// program again as process 1 of a new pid and mount namespace in it. That second
// run only mounts what has to be hidden from the machine, starts the program a
// third time and collects orphans. The third run is the one in which Main and
// Enter come back: it starts the cluster, tests, and stops it.
//
// Why so: no packet for a pod or a Service can leave the machine, because the
// network namespace has no way out; and nothing is left when any of the three is
// killed, because the kernel ends every process of a pid namespace with its first
// one and drops the mounts with the last. What the kernel does not drop (the name
// of the network namespace, the cgroups, the directory) the outer run
// removes, or else the next one: their names carry the owner's pid and start time.
//
// Duties of the caller:
//
//   - call Main from TestMain, or Enter first thing in main, before any other
//     work: what was done before it is done three times;
//   - one Cluster at a time in one program. Several programs may each have one;
//   - call Stop or Finish for each Cluster that Start returned;
//   - nothing can be downloaded after Enter: images come from files.
//
// Words: the state directory holds all files of one run; a component is one
// process of the control plane or the node; the host end of a pod is the end of
// its veth pair outside the pod, the one that LinkDown takes down.
package cluster
