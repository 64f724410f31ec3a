package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Addresses. They are the same in every run, for each has a network namespace of its own.
const (
	NodeName = "node-0"        // the name of the only node
	NodeIP   = "10.250.0.1"    // where the API server listens, port 6443, and cluster DNS, port 53
	Services = "10.96.0.0/16"  // where ClusterIPs come from
	Pods     = "10.244.0.0/16" // where pod addresses come from
	apiIP    = "10.96.0.1"     // of the Service kubernetes, the first one of Services
	apiURL   = "https://" + NodeIP + ":6443"
	etcdURL  = "http://127.0.0.1:2379"
	pauseRef = "docker.io/library/triwatch-pause:local"
)

// users are who talks to the API server, with the groups that RBAC knows them by.
var users = []struct{ kubeconfig, user, groups string }{ // constant
	{"admin", "admin", "system:masters"},
	{"kube-controller-manager", "system:kube-controller-manager", ""},
	{"kube-scheduler", "system:kube-scheduler", ""},
	{"kube-proxy", "system:kube-proxy", ""},
	{"kubelet", "system:node:" + NodeName, "system:nodes"},
	{"dns", dnsUser, ""},
}

const dnsUser = "triwatch:dns" // may read what the cluster role view may

// writeConfig writes the certificates, tokens and configuration files of all components.
func (p place) writeConfig(dns bool) error {
	files, err := newCertificates()
	if err != nil {
		return err
	}
	var tokens strings.Builder
	for _, u := range users {
		token, err := randomToken()
		if err != nil {
			return err
		}
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, u.user, u.user, u.groups)
		files[u.kubeconfig+".kubeconfig"] = fmt.Sprintf(kubeconfigText, apiURL, base64.StdEncoding.EncodeToString([]byte(files["ca.crt"])), u.user, token)
	}
	files["tokens.csv"] = tokens.String()
	files["containerd.toml"] = fmt.Sprintf(containerdText, p.path("containerd"), p.path("run", "containerd"), p.path("opt"), p.path("run", "containerd.sock"), pauseRef, p.path("etc", "cni"))
	files["cni/10-bridge.conflist"] = fmt.Sprintf(cniText, Pods, p.path("cni"))
	clusterDNS := "[]"
	if dns {
		clusterDNS = "[" + NodeIP + "]"
	}
	files["kubelet.yaml"] = fmt.Sprintf(kubeletText, NodeIP, clusterDNS, p.path("run", "containerd.sock"), p.path("log", "pods"), p.path("kubelet", "plugins-exec"))
	files["kube-proxy.yaml"] = fmt.Sprintf(proxyText, p.path("etc", "kube-proxy.kubeconfig"), Pods, NodeName)
	files["Corefile"] = fmt.Sprintf(corefileText, NodeIP, p.path("etc", "dns.kubeconfig"))
	for name, text := range files {
		path := p.path("etc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return nil
}

const kubeconfigText = `apiVersion: v1
kind: Config
clusters:
- name: triwatch
  cluster: {server: %q, certificate-authority-data: %q}
users:
- name: %[3]q
  user: {token: %[4]q}
contexts:
- name: triwatch
  context: {cluster: triwatch, user: %[3]q}
current-context: triwatch
`

// restrict_oom_score_adj lets it work without CAP_SYS_RESOURCE, which containers of CI machines lack.
const containerdText = `version = 2
root = %q
state = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
`

const cniText = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "dataDir": %q}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
`

// The eviction thresholds are low because a build machine's disk may be rather full.
const kubeletText = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
# With it kubelet 1.34 ends in a nil pointer when a pod is deleted by force while it
# looks at its resources.
featureGates: {InPlacePodVerticalScaling: false}
localStorageCapacityIsolation: false
oomScoreAdj: 0
resolvConf: ""
clusterDNS: %s
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://%s
podLogsDir: %s
volumePluginDir: %s
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, nodefs.inodesFree: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
`

// The minimum sync period stays at its default of a second: that is what users have.
const proxyText = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %q}
clusterCIDR: %s
hostnameOverride: %s
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
`

// No forward: a name outside of the cluster is refused at once.
const corefileText = `.:53 {
    bind %[1]s
    errors
    ready %[1]s:8181
    kubernetes cluster.local in-addr.arpa {
        kubeconfig %[2]s
        pods insecure
        ttl 30
    }
}
`
