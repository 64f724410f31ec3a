package watch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/triwatch/triwatch/sentinel"
)

func TestBadInputIsAProblemThatNamesObjectAndSetting(t *testing.T) {
	set := func(key, value string) func(*fixture) { return func(f *fixture) { annotate(f.sets[0], key, value) } }
	waiting := func(reason string) func(*fixture) {
		return func(f *fixture) {
			f.pods[1].Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "redis", Image: "redis:typo",
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
		}
	}
	for name, c := range map[string]struct {
		change             func(*fixture)
		kind, object, what string // what: the reason
		says               []string
	}{
		"name":               {set("triwatch.io/watch", "my orders"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/watch", `"my orders"`, "not watched"}},
		"no name":            {set("triwatch.io/watch", ""), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/watch"}},
		"down-after":         {set("triwatch.io/down-after", "1000"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/down-after", `"1000"`, "unit", "the default, 5s, is used"}},
		"tiny down-after":    {set("triwatch.io/down-after", "10ms"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/down-after", "50ms", "the default, 5s, is used"}},
		"failover-timeout":   {set("triwatch.io/failover-timeout", "-1s"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/failover-timeout", "1m0s"}},
		"not fitting":        {set("triwatch.io/failover-timeout", "1s"), "StatefulSet", "redis", ReasonInvalidSettings, []string{"failover-timeout 1s is shorter than down-after 5s", "the defaults 5s and 1m0s"}},
		"parallel-syncs":     {set("triwatch.io/parallel-syncs", "0"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/parallel-syncs", "the default, 1, is used"}},
		"on-crash":           {set("triwatch.io/on-crash", "fail"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/on-crash", "failover, wait"}},
		"max-loss":           {set("triwatch.io/max-loss", "1 MB"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/max-loss", "the default, 1Mi, is used"}},
		"negative max-loss":  {set("triwatch.io/max-loss", "-1"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/max-loss"}},
		"mode":               {set("triwatch.io/mode", "pause"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/mode", "act, observe, paused", "writes nothing"}},
		"fence":              {set("triwatch.io/fence", "yes"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/fence", "the default, off, is used"}},
		"unfenced-failover":  {set("triwatch.io/unfenced-failover", "no"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/unfenced-failover", "the default, allow, is used"}},
		"announce":           {set("triwatch.io/announce", "dns"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/announce", "the default, ip, is used"}},
		"port":               {set("triwatch.io/port", "70000"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/port", "container's port"}},
		"auth-secret":        {set("triwatch.io/auth-secret", "Redis Auth"), "StatefulSet", "redis", ReasonInvalidAnnotation, []string{"triwatch.io/auth-secret"}},
		"unknown key":        {set("triwatch.io/down_after", "1s"), "StatefulSet", "redis", ReasonUnknownAnnotation, []string{"triwatch.io/down_after", "not known"}},
		"key of another":     {set("triwatch.io/priority", "1"), "StatefulSet", "redis", ReasonUnknownAnnotation, []string{"triwatch.io/priority", "belongs on a Pod"}},
		"unknown on Service": {func(f *fixture) { annotate(f.svcs[1], "triwatch.io/server", "orders/master") }, "Service", "redis-replicas", ReasonUnknownAnnotation, []string{"triwatch.io/server"}},
		"unknown on pod":     {func(f *fixture) { annotate(f.pods[2], "triwatch.io/prio", "1") }, "Pod", "redis-2", ReasonUnknownAnnotation, []string{"triwatch.io/prio"}},
		"priority":           {func(f *fixture) { annotate(f.pods[2], "triwatch.io/priority", "-1") }, "Pod", "redis-2", ReasonInvalidAnnotation, []string{"triwatch.io/priority", `"-1"`, "replica-priority"}},
		"epoch on Service":   {func(f *fixture) { annotate(f.svcs[0], "triwatch.io/epoch", "1.5") }, "Service", "redis-master", ReasonInvalidAnnotation, []string{"triwatch.io/epoch", `"1.5"`}},
		"epoch on pod":       {func(f *fixture) { annotate(f.pods[0], "triwatch.io/epoch", "-7") }, "Pod", "redis-0", ReasonInvalidAnnotation, []string{"triwatch.io/epoch"}},
		"serve without role": {func(f *fixture) { annotate(f.svcs[1], "triwatch.io/serve", "orders") }, "Service", "redis-replicas", ReasonInvalidAnnotation, []string{"triwatch.io/serve", `"orders"`, "left alone"}},
		"serve a bad role":   {func(f *fixture) { annotate(f.svcs[1], "triwatch.io/serve", "orders/slave") }, "Service", "redis-replicas", ReasonInvalidAnnotation, []string{"orders/slave"}},
		"serve nobody":       {func(f *fixture) { annotate(f.svcs[1], "triwatch.io/serve", "oders/replica") }, "Service", "redis-replicas", ReasonUnknownMaster, []string{"triwatch.io/serve", "oders", "namespace shop"}},
		"another namespace":  {func(f *fixture) { f.svcs[1].Namespace = "other" }, "Service", "redis-replicas", ReasonUnknownMaster, []string{"namespace other"}},
		"master selector":    {func(f *fixture) { delete(f.svcs[0].Spec.Selector, "triwatch.io/role") }, "Service", "redis-master", ReasonRoleNotSelected, []string{"triwatch.io/role: master", "triwatch.io/instance"}},
		"replica selector":   {func(f *fixture) { delete(f.svcs[1].Spec.Selector, "triwatch.io/reads") }, "Service", "redis-replicas", ReasonRoleNotSelected, []string{"triwatch.io/reads: yes", "triwatch.io/role: replica"}},
		"external name":      {func(f *fixture) { f.svcs[1].Spec.Type = corev1.ServiceTypeExternalName }, "Service", "redis-replicas", ReasonRoleNotSelected, []string{"ExternalName"}},
		"no Service":         {func(f *fixture) { f.svcs = f.svcs[1:] }, "StatefulSet", "redis", ReasonNoService, []string{"triwatch.io/serve: orders/master", "Sentinel"}},
		"one replica":        {func(f *fixture) { *f.sets[0].Spec.Replicas = 1 }, "StatefulSet", "redis", ReasonNoReplica, []string{"spec.replicas is 1"}},
		"default replicas":   {func(f *fixture) { f.sets[0].Spec.Replicas = nil }, "StatefulSet", "redis", ReasonNoReplica, []string{"spec.replicas is 1"}},
		"no Secret":          {func(f *fixture) { f.secrets = nil }, "StatefulSet", "redis", ReasonMissingSecret, []string{"triwatch.io/auth-secret", "shop/redis-auth", "does not exist", "no password is used"}},
		"no password key":    {func(f *fixture) { delete(f.secrets[0].Data, "password") }, "StatefulSet", "redis", ReasonMissingSecret, []string{"shop/redis-auth", "no key password"}},
		"unreadable Secret":  {func(f *fixture) { f.state = secretUnreadable }, "StatefulSet", "redis", ReasonMissingSecret, []string{"shop/redis-auth", "Role"}},
		"pull backs off":     {waiting("ImagePullBackOff"), "StatefulSet", "redis", ReasonPodNotStarting, []string{"pod redis-1", "container redis", "ImagePullBackOff", "redis:typo"}},
		"pull fails":         {waiting("ErrImagePull"), "StatefulSet", "redis", ReasonPodNotStarting, []string{"pod redis-1", "ImagePullBackOff"}},
		"never pulled":       {waiting("ErrImageNeverPull"), "StatefulSet", "redis", ReasonPodNotStarting, []string{"pod redis-1", "ErrImageNeverPull"}},
		"container config":   {waiting("CreateContainerConfigError"), "StatefulSet", "redis", ReasonPodNotStarting, []string{"pod redis-1", "CreateContainerConfigError"}},
		"init container": {func(f *fixture) {
			waiting("ErrImagePull")(f)
			f.pods[1].Status.InitContainerStatuses, f.pods[1].Status.ContainerStatuses = f.pods[1].Status.ContainerStatuses, nil
		}, "StatefulSet", "redis", ReasonPodNotStarting, []string{"pod redis-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, "orders.yaml")
			c.change(f)
			s := once(f)
			var found []Problem
			for _, p := range s.Problems {
				if p.Reason == c.what {
					found = append(found, p)
				} else {
					// A master that is not watched leaves its Services without one.
					require.Equal(t, ReasonUnknownMaster, p.Reason, "%+v", p)
					require.Empty(t, s.Masters)
				}
			}
			require.Len(t, found, 1, "%+v", s.Problems)
			require.Equal(t, c.kind, found[0].Kind)
			require.Equal(t, c.object, found[0].Name)
			require.NotEmpty(t, found[0].Namespace)
			for _, text := range c.says {
				require.Contains(t, found[0].Message, text)
			}
		})
	}
}

func TestFineInputIsNoProblem(t *testing.T) {
	f := load(t, "orders.yaml")
	for key, value := range map[string]string{"epoch": "12", "down-after": "1s", "max-loss": "0", "mode": "act", "unfenced-failover": "allow"} {
		annotate(f.sets[0], "triwatch.io/"+key, value)
	}
	annotate(f.pods[0], "triwatch.io/epoch", "12")
	annotate(f.pods[0], "triwatch.io/raft-id", "abc")
	annotate(f.pods[0], "other.io/x", "abc")
	f.svcs[1].Spec.Selector = map[string]string{"app": "redis", "triwatch.io/role": "replica"}
	f.pods[1].Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "redis",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
	require.Empty(t, once(f).Problems)
}

func TestServiceWithoutTheRoleIsStillFollowed(t *testing.T) {
	f := load(t, "orders.yaml")
	f.svcs[0].Spec.Selector = map[string]string{"app": "redis"}
	m := only(t, once(f))
	require.True(t, m.Inventory.Serves)
	require.Len(t, m.Services, 2)
}

func TestServiceThatCannotFollowIsLeftOut(t *testing.T) {
	for _, change := range []func(*corev1.Service){
		func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName },
		func(s *corev1.Service) { annotate(s, "triwatch.io/serve", "orders/primary") },
		func(s *corev1.Service) { annotate(s, "triwatch.io/serve", "other/master") },
		func(s *corev1.Service) { s.Annotations = nil },
	} {
		f := load(t, "orders.yaml")
		change(f.svcs[0])
		m := only(t, once(f))
		require.False(t, m.Inventory.Serves)
		require.Equal(t, []Service{{Namespace: "shop", Name: "redis-replicas", Role: "replica"}}, m.Services)
	}
}

func TestSettingsAreTaken(t *testing.T) {
	for key, c := range map[string]struct {
		value string
		check func(t *testing.T, m Master)
	}{
		"down-after":        {"1s", func(t *testing.T, m Master) { require.Equal(t, time.Second, m.Inventory.Config.DownAfter) }},
		"failover-timeout":  {"2m", func(t *testing.T, m Master) { require.Equal(t, 2*time.Minute, m.Inventory.Config.FailoverTimeout) }},
		"parallel-syncs":    {"3", func(t *testing.T, m Master) { require.Equal(t, 3, m.Inventory.Config.ParallelSyncs) }},
		"on-crash":          {"wait", func(t *testing.T, m Master) { require.True(t, m.Inventory.Config.CrashWaits) }},
		"max-loss":          {"64Ki", func(t *testing.T, m Master) { require.Equal(t, int64(65536), m.Inventory.Config.MaxLoss) }},
		"fence":             {"on", func(t *testing.T, m Master) { require.True(t, m.Fence) }},
		"unfenced-failover": {"hold", func(t *testing.T, m Master) { require.True(t, m.HoldUnfenced) }},
		"announce":          {"hostname", func(t *testing.T, m Master) { require.True(t, m.AnnounceHostname) }},
	} {
		t.Run(key, func(t *testing.T) {
			f := load(t, "orders.yaml")
			annotate(f.sets[0], "triwatch.io/"+key, c.value)
			s := once(f)
			require.Empty(t, s.Problems)
			c.check(t, only(t, s))
			require.NoError(t, only(t, s).Inventory.Config.Validate())
		})
	}
}

func TestModesSayWhatMayBeWritten(t *testing.T) {
	for mode, want := range map[string]struct{ observe, paused bool }{
		"act": {false, false}, "observe": {true, false}, "paused": {false, true}, "": {true, false}, "Act": {true, false},
	} {
		f := load(t, "orders.yaml")
		annotate(f.sets[0], "triwatch.io/mode", mode)
		m := only(t, once(f))
		require.Equal(t, want.observe, m.Inventory.Config.Observe, mode)
		require.Equal(t, want.paused, m.Paused, mode)
	}
}

func TestLastGoodValueStaysInForce(t *testing.T) {
	f := load(t, "orders.yaml")
	d := newDeriver(3, 0)
	value := func(text string) (sentinel.Config, []Problem) {
		annotate(f.sets[0], "triwatch.io/down-after", text)
		s := d.derive(f, noon, false).snapshot
		return only(t, s).Inventory.Config, s.Problems
	}
	c, problems := value("1s")
	require.Empty(t, problems)
	require.Equal(t, 3, c.Quorum)
	c, problems = value("1 s")
	require.Equal(t, time.Second, c.DownAfter)
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Message, "the last good value, 1s, is used")
	c, problems = value("90s") // longer than the time-out, which bounds it
	require.Equal(t, time.Second, c.DownAfter)
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Message, "the last good values 1s and 1m0s")

	c, _ = value("2s")
	require.Equal(t, 2*time.Second, c.DownAfter)
	delete(f.sets[0].Annotations, "triwatch.io/down-after")
	require.Equal(t, 5*time.Second, only(t, d.derive(f, noon, false).snapshot).Inventory.Config.DownAfter)
	c, _ = value("1 s") // what was taken away is not the last good value any more
	require.Equal(t, 5*time.Second, c.DownAfter)
}

func TestReplicasAreCountedFromTheSpec(t *testing.T) {
	f := load(t, "orders.yaml")
	change := func(s *appsv1.StatefulSet, n int32) { s.Spec.Replicas = &n }
	change(f.sets[0], 5)
	require.Equal(t, 5, only(t, once(f)).Inventory.Expected)
	change(f.sets[0], 0)
	s := once(f)
	require.Equal(t, 0, only(t, s).Inventory.Expected)
	require.Equal(t, ReasonNoReplica, s.Problems[0].Reason)
}
