package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/sentinel"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// once derives without any memory, problems settled.
func once(f *fixture) Snapshot { return newDeriver(2, 0).derive(f, noon, false).snapshot }

func only(t *testing.T, s Snapshot) Master {
	t.Helper()
	require.Len(t, s.Masters, 1)
	return s.Masters[0]
}

func TestStatefulSetOfTheDeploymentBecomesAMaster(t *testing.T) {
	s := once(load(t, "orders.yaml"))
	require.Empty(t, s.Problems)
	require.False(t, s.Unsure)
	config := sentinel.DefaultConfig()
	config.Quorum, config.DownAfter, config.FailoverTimeout, config.PauseWrites = 2, 5*time.Second, 60*time.Second, true
	instance := func(i int) sentinel.Instance {
		name := fmt.Sprintf("redis-%d", i)
		return sentinel.Instance{ID: sentinel.InstanceID("uid-" + name), Name: name, Ordinal: i, Priority: -1,
			Addr: sentinel.Addr{Host: fmt.Sprintf("10.244.5.%d", 10+i), Port: 6380}, Data: "shop/data-" + name}
	}
	require.Equal(t, []Master{{
		Name: "orders", Namespace: "shop", StatefulSet: "redis", UID: "set-orders", Governing: "redis",
		Inventory: sentinel.Inventory{Master: "orders", Owner: "shop/redis", Config: config, Expected: 3, Serves: true,
			Instances: []sentinel.Instance{instance(0), instance(1), instance(2)}},
		User: "triwatch", Password: "s3cret",
		Pods: map[sentinel.InstanceID]string{"uid-redis-0": "redis-0", "uid-redis-1": "redis-1", "uid-redis-2": "redis-2"},
		Services: []Service{{Namespace: "shop", Name: "redis-master", Role: "master"},
			{Namespace: "shop", Name: "redis-replicas", Role: "replica"}},
	}}, s.Masters)
}

func TestStatefulSetOfTheTutorialBecomesAMaster(t *testing.T) {
	f := load(t, "tutorial.yaml")
	now := metav1.NewTime(noon)
	f.pods[0].DeletionTimestamp = &now
	s := once(f)
	require.Empty(t, s.Problems)
	m := only(t, s)
	require.Equal(t, "sessions", m.Name)
	require.Equal(t, 3, m.Inventory.Expected)
	require.Equal(t, sentinel.Instance{ID: "uid-redis-sfs-0", Name: "redis-sfs-0", Priority: -1, Deleting: true, // no hook: hurry
		Addr: sentinel.Addr{Host: "10.244.9.10", Port: 6379}}, m.Inventory.Instances[0])
	require.Equal(t, []Service{{Namespace: "tutorial", Name: "redis", Role: "master"}}, m.Services)
	require.Empty(t, m.Password)
}

func TestMastersAreSortedByName(t *testing.T) {
	s := once(load(t, "tutorial.yaml", "orders.yaml"))
	require.Len(t, s.Masters, 2)
	require.Equal(t, "orders", s.Masters[0].Name)
	require.Equal(t, "sessions", s.Masters[1].Name)
}

func TestStatefulSetWithoutTheAnnotationIsNoMaster(t *testing.T) {
	f := load(t, "orders.yaml")
	f.sets[0].Annotations, f.svcs = nil, nil
	s := once(f)
	require.Empty(t, s.Masters)
	require.Empty(t, s.Problems)
}

func TestPodsBecomeInstances(t *testing.T) {
	deleted := func(p *corev1.Pod, grace int64) {
		at := metav1.NewTime(noon.Add(time.Duration(grace) * time.Second))
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &grace
	}
	hook := func(p *corev1.Pod, h *corev1.LifecycleHandler) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: h}
	}
	hurry := func(t *testing.T, i sentinel.Instance) {
		require.True(t, i.Deleting)
		require.Zero(t, i.Patience)
	}
	waits := func(t *testing.T, i sentinel.Instance) {
		require.True(t, i.Deleting)
		require.Equal(t, 1200*time.Millisecond, i.Patience)
	}
	atPort := func(n int) func(*testing.T, sentinel.Instance) {
		return func(t *testing.T, i sentinel.Instance) { require.Equal(t, n, i.Addr.Port) }
	}
	for name, c := range map[string]struct {
		change func(s *appsv1.StatefulSet, p *corev1.Pod)
		check  func(t *testing.T, i sentinel.Instance)
	}{
		"has no address yet":         {func(_ *appsv1.StatefulSet, p *corev1.Pod) { p.Status.PodIP = "" }, func(t *testing.T, i sentinel.Instance) { require.True(t, i.Addr.IsZero()) }},
		"port by annotation":         {func(s *appsv1.StatefulSet, _ *corev1.Pod) { annotate(s, "triwatch.io/port", "7000") }, atPort(7000)},
		"port by name":               {func(*appsv1.StatefulSet, *corev1.Pod) {}, atPort(6380)},
		"first port of first":        {func(_ *appsv1.StatefulSet, p *corev1.Pod) { p.Spec.Containers[0].Ports[1].Name = "x" }, atPort(9121)},
		"no port at all":             {func(_ *appsv1.StatefulSet, p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }, atPort(6379)},
		"lives":                      {func(*appsv1.StatefulSet, *corev1.Pod) {}, func(t *testing.T, i sentinel.Instance) { require.False(t, i.Deleting) }},
		"deleted, sleep long enough": {func(_ *appsv1.StatefulSet, p *corev1.Pod) { deleted(p, 30) }, waits},
		"deleted, sleep too short": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			deleted(p, 30)
			hook(p, &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}})
		}, hurry},
		"deleted, sleep just enough": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			deleted(p, 5)
			hook(p, &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}})
		}, waits},
		"deleted, exec hook": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			deleted(p, 30)
			hook(p, &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "9"}}})
		}, waits},
		"deleted, httpGet hook": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			deleted(p, 30)
			hook(p, &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}})
		}, waits},
		"deleted, no hook":          {func(_ *appsv1.StatefulSet, p *corev1.Pod) { deleted(p, 30); p.Spec.Containers[0].Lifecycle = nil }, hurry},
		"deleted, grace cut to 4 s": {func(_ *appsv1.StatefulSet, p *corev1.Pod) { deleted(p, 4) }, hurry},
		"deleted, hook on a sidecar only": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			deleted(p, 30)
			side := corev1.Container{Name: "side", Lifecycle: p.Spec.Containers[0].Lifecycle}
			p.Spec.Containers[0].Lifecycle = nil
			p.Spec.Containers = append([]corev1.Container{side}, p.Spec.Containers...)
		}, hurry},
		"to be evicted": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue})
		}, waits},
		"to be evicted, short grace": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			short := int64(3)
			p.Spec.TerminationGracePeriodSeconds = &short
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue})
		}, hurry},
		"eviction called off": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionFalse})
		}, func(t *testing.T, i sentinel.Instance) { require.False(t, i.Deleting) }},
		"several volumes": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, claim("aof", "aof-1"), claim("unmounted", "x"))
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{VolumeMounts: []corev1.VolumeMount{{Name: "aof"}, {Name: "data"}}})
		}, func(t *testing.T, i sentinel.Instance) { require.Equal(t, "shop/aof-1,shop/data-redis-1", i.Data) }},
		"no volume": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}, func(t *testing.T, i sentinel.Instance) { require.Empty(t, i.Data) }},
		"priority": {func(_ *appsv1.StatefulSet, p *corev1.Pod) { annotate(p, "triwatch.io/priority", "0") },
			func(t *testing.T, i sentinel.Instance) { require.Equal(t, 0, i.Priority) }},
		"started as a replica by an argument": {args("redis-server", "/etc/redis.conf", "--replicaof", "127.0.0.1", "0"), bootsAs(sentinel.BootReplica)},
		"started as a slave by an argument":   {args("--slaveof", "redis-0.redis", "6379"), bootsAs(sentinel.BootReplica)},
		"started by a file only":              {args("redis-server", "/etc/redis.conf"), bootsAs(sentinel.BootUnknown)},
		"started by a script with two branches": {args("sh", "-c", "if [ $n = 0 ]; then redis-server; else redis-server --slaveof redis-0.redis 6379; fi"),
			bootsAs(sentinel.BootUnknown)},
		"a sidecar's argument": {func(_ *appsv1.StatefulSet, p *corev1.Pod) {
			args()(nil, p)
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side", Args: []string{"--replicaof"}})
		}, bootsAs(sentinel.BootUnknown)},
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, "orders.yaml")
			c.change(f.sets[0], f.pods[1])
			s := once(f)
			require.Empty(t, s.Problems)
			m := only(t, s)
			require.Len(t, m.Inventory.Instances, 3)
			require.Equal(t, "redis-1", m.Inventory.Instances[1].Name)
			c.check(t, m.Inventory.Instances[1])
		})
	}
}

// args replaces the command line of the pod's Redis.
func args(all ...string) func(*appsv1.StatefulSet, *corev1.Pod) {
	return func(_ *appsv1.StatefulSet, p *corev1.Pod) {
		for i := range p.Spec.Containers {
			p.Spec.Containers[i].Command, p.Spec.Containers[i].Args = nil, nil
		}
		c := redisContainer(p)
		c.Command, c.Args = all[:min(1, len(all))], all[min(1, len(all)):]
	}
}

func bootsAs(want sentinel.Boot) func(*testing.T, sentinel.Instance) {
	return func(t *testing.T, i sentinel.Instance) { require.Equal(t, want, i.Boots) }
}

func TestPodsThatAreNotInstances(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *corev1.Pod)
		pods   int
	}{
		"failed":                  {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, 3},
		"succeeded":               {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, 3},
		"other labels":            {func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} }, 2},
		"owner of the same name":  {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "earlier" }, 2},
		"owner does not control":  {func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil }, 2},
		"orphan with same labels": {func(p *corev1.Pod) { p.OwnerReferences = nil }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, "orders.yaml")
			c.change(f.pods[1])
			m := only(t, once(f))
			require.Len(t, m.Inventory.Instances, 2)
			require.Equal(t, "redis-2", m.Inventory.Instances[1].Name)
			require.Equal(t, 3, m.Inventory.Expected)
			require.Len(t, m.Pods, c.pods)
		})
	}
}

func TestInstancesComeInTheOrderOfTheirOrdinals(t *testing.T) {
	f := load(t, "orders.yaml")
	f.pods = append([]*corev1.Pod{podOf(f.sets[0], 10), podOf(f.sets[0], 9)}, f.pods...)
	var got []int
	for _, i := range only(t, once(f)).Inventory.Instances {
		got = append(got, i.Ordinal)
	}
	require.Equal(t, []int{0, 1, 2, 9, 10}, got)
}

func TestFloorIsTheHighestEpochWritten(t *testing.T) {
	f := load(t, "orders.yaml")
	annotate(f.svcs[0], "triwatch.io/epoch", "17")
	annotate(f.svcs[1], "triwatch.io/epoch", "99") // a replicas Service does not count
	annotate(f.pods[0], "triwatch.io/epoch", "4294967314")
	s := once(f)
	require.Empty(t, s.Problems)
	require.Equal(t, sentinel.MakeEpoch(1, 18), only(t, s).Inventory.Floor)
	delete(f.pods[0].Annotations, "triwatch.io/epoch")
	require.Equal(t, sentinel.Epoch(17), only(t, once(f)).Inventory.Floor)
}

func TestLostNodesPodIsGoneTenSecondsPastItsGrace(t *testing.T) {
	f := load(t, "orders.yaml")
	d := newDeriver(2, 0)
	instances := func(after time.Duration) int {
		return len(only(t, d.derive(f, noon.Add(after), false).snapshot).Inventory.Instances)
	}
	// The API server's clock is an hour off; ours alone decides.
	at, grace := metav1.NewTime(noon.Add(-time.Hour)), int64(30)
	f.pods[2].DeletionTimestamp, f.pods[2].DeletionGracePeriodSeconds = &at, &grace
	f.pods[2].Status.Conditions[0].Status = corev1.ConditionFalse
	out := d.derive(f, noon, false)
	require.Equal(t, noon.Add(40*time.Second), out.next, "no event will come, so a pass must be due")
	require.Equal(t, 3, instances(39*time.Second))
	require.Equal(t, 2, instances(40*time.Second))
	require.Contains(t, only(t, d.derive(f, noon.Add(time.Minute), false).snapshot).Pods, sentinel.InstanceID("uid-redis-2"))

	shorter := int64(1) // a second, impatient delete of another pod
	f.pods[1].DeletionTimestamp, f.pods[1].DeletionGracePeriodSeconds = &at, &grace
	f.pods[1].Status.Conditions = nil
	require.Equal(t, 2, instances(60*time.Second))
	f.pods[1].DeletionGracePeriodSeconds = &shorter
	require.Equal(t, 2, instances(65*time.Second))
	require.Equal(t, 2, instances(75*time.Second))
	require.Equal(t, 1, instances(76*time.Second))

	little := int64(29) // one that comes late does not make it last longer
	f.pods[0].DeletionTimestamp, f.pods[0].DeletionGracePeriodSeconds = &at, &grace
	f.pods[0].Status.Conditions = nil
	require.Equal(t, 1, instances(80*time.Second))
	f.pods[0].DeletionGracePeriodSeconds = &little
	require.Equal(t, 1, instances(119*time.Second))
	require.Equal(t, 0, instances(120*time.Second))
}

func TestPodThatIsStillReportedReadyIsNotGone(t *testing.T) {
	f := load(t, "orders.yaml")
	d := newDeriver(2, 0)
	at := metav1.NewTime(noon)
	f.pods[2].DeletionTimestamp = &at
	d.derive(f, noon, false)
	require.Len(t, only(t, d.derive(f, noon.Add(time.Hour), false).snapshot).Inventory.Instances, 3)
	f.pods[2].Status.Conditions[0].Status = corev1.ConditionUnknown
	require.Len(t, only(t, d.derive(f, noon.Add(time.Hour), false).snapshot).Inventory.Instances, 2)
}

func TestOldestOfOneNameKeepsIt(t *testing.T) {
	for _, order := range []string{"orders.yaml tutorial.yaml", "tutorial.yaml orders.yaml"} {
		f := load(t, strings.Fields(order)...)
		for _, s := range f.sets {
			annotate(s, "triwatch.io/watch", "orders")
		}
		s := once(f)
		require.Equal(t, "shop", only(t, s).Namespace)
		var got []string
		for _, p := range s.Problems {
			got = append(got, p.Reason+" "+p.Namespace+"/"+p.Name)
		}
		require.Equal(t, []string{"DuplicateName shop/redis", "UnknownMaster tutorial/redis", "DuplicateName tutorial/redis-sfs"}, got)
		require.Contains(t, s.Problems[0].Message, "tutorial/redis-sfs")
		require.Contains(t, s.Problems[2].Message, "shop/redis")
	}
}

func TestPasswordStaysKnownWhenTheSecretGoes(t *testing.T) {
	f := load(t, "orders.yaml")
	d := newDeriver(2, 0)
	require.Equal(t, "s3cret", only(t, d.derive(f, noon, false).snapshot).Password)
	f.secrets[0].Data["password"] = []byte("rotated")
	require.Equal(t, "rotated", only(t, d.derive(f, noon, false).snapshot).Password)
	for _, state := range []secretState{secretAbsent, secretUnreadable, secretPending} {
		f.state = state
		s := d.derive(f, noon, false).snapshot
		require.Equal(t, "rotated", only(t, s).Password, state)
		require.False(t, s.Unsure, state)
		require.Equal(t, state != secretPending, len(s.Problems) == 1, state)
	}
	f.state = secretUnknown
	delete(f.secrets[0].Data, "password")
	s := d.derive(f, noon, false).snapshot
	require.Equal(t, "rotated", only(t, s).Password)
	require.Equal(t, "triwatch", only(t, s).User)
	delete(f.sets[0].Annotations, "triwatch.io/auth-secret")
	require.Empty(t, only(t, d.derive(f, noon, false).snapshot).Password)
}

func TestNewMasterWaitsForItsPassword(t *testing.T) {
	f := load(t, "orders.yaml", "tutorial.yaml")
	f.state = secretPending
	s := once(f)
	require.True(t, s.Unsure)
	require.Equal(t, "sessions", only(t, s).Name)
	f.state = secretUnreadable // not for ever
	require.Len(t, once(f).Masters, 2)
	require.False(t, once(f).Unsure)
}

func TestProblemBetweenTwoObjectsSettlesFirst(t *testing.T) {
	f := load(t, "orders.yaml")
	d := newDeriver(2, 2*time.Second)
	services := f.svcs
	f.svcs = nil
	out := d.derive(f, noon, false)
	require.Empty(t, out.snapshot.Problems)
	require.Equal(t, noon.Add(2*time.Second), out.next)
	out = d.derive(f, noon.Add(2*time.Second), false)
	require.Len(t, out.snapshot.Problems, 1)
	require.True(t, out.next.IsZero())
	f.svcs = services
	require.Empty(t, d.derive(f, noon.Add(3*time.Second), false).snapshot.Problems)
	f.svcs = nil
	require.Empty(t, d.derive(f, noon.Add(4*time.Second), false).snapshot.Problems, "it is a new one")
}

func TestMemoryOfWhatIsGoneIsDropped(t *testing.T) {
	f := load(t, "orders.yaml")
	at := metav1.NewTime(noon)
	f.pods[0].DeletionTimestamp = &at
	annotate(f.pods[0], "triwatch.io/priority", "7")
	annotate(f.sets[0], "triwatch.io/fence", "maybe")
	d := newDeriver(2, 0)
	d.derive(f, noon, false)
	require.NotEmpty(t, d.ending)
	require.NotEmpty(t, d.good)
	require.NotEmpty(t, d.since)
	d.derive(&fixture{}, noon, false)
	for _, n := range []int{len(d.good), len(d.configs), len(d.passwords), len(d.ending), len(d.since)} {
		require.Zero(t, n)
	}
}

func TestOrderOfTheListsDoesNotMatter(t *testing.T) {
	f := load(t, "orders.yaml", "tutorial.yaml")
	annotate(f.sets[0], "triwatch.io/fence", "maybe")
	annotate(f.svcs[0], "triwatch.io/x", "")
	want := once(f)
	slices.Reverse(f.sets)
	slices.Reverse(f.svcs)
	slices.Reverse(f.pods)
	require.Equal(t, want, once(f))
}
