package redisio_test

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

func TestCheckFindsNothingWrongWithASoundReplica(t *testing.T) {
	master := redis(t, redisproc.Options{Args: []string{"--appendonly", "yes"}})
	replica := redis(t, redisproc.Options{ReplicaOf: master.Addr(), Args: []string{"--appendonly", "yes"}})
	if err := replica.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*redisproc.Server{master, replica} {
		found, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{}, nil)
		if err != nil || len(found.Problems)+len(found.Warnings) != 0 || found.Info.Role == sentinel.RoleUnknown {
			t.Errorf("%+v %v", found, err)
		}
	}
	if calls(t, replica, "replicaof")+calls(t, replica, "client|kill")+calls(t, replica, "config|set") != 0 {
		t.Error("it was not harmless")
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	s := redis(t, redisproc.Options{
		ReplicaOf: "127.0.0.1:1",
		Args:      []string{"--replica-priority", "0", "--replica-read-only", "no", "--replica-announced", "no"},
	})
	ask(t, s, "ACL", "SETUSER", "watch", "on", ">pw", "&*", "+ping", "+info", "+acl", "+config|get", "+subscribe")
	found, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{User: "watch", Password: "pw"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	problems, warnings := strings.Join(found.Problems, "\n"), strings.Join(found.Warnings, "\n")
	for _, want := range []string{
		"replica-read-only", "link to the master", "user watch may not send REPLICAOF",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("no problem %q in %q", want, problems)
		}
	}
	for _, want := range []string{
		"priority is 0", "replica-announced", "user watch may not send CLIENT KILL", "may not send CONFIG REWRITE", "may not send CLIENT PAUSE",
	} {
		if !strings.Contains(warnings, want) || strings.Contains(problems, want) {
			t.Errorf("%q is not a warning: problems %q, warnings %q", want, problems, warnings)
		}
	}
	for _, not := range []string{"PING", "INFO", "CONFIG GET", "SUBSCRIBE"} {
		if strings.Contains(problems, "may not send "+not) {
			t.Errorf("%s is allowed: %q", not, problems)
		}
	}
}

func TestCheckWarnsOfMastersThatBootAsOneWithLess(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		keeps  redisio.Keeps
		wanted map[sentinel.Boot]string
	}{
		"nothing": {nil, redisio.KeepsNothing, map[sentinel.Boot]string{
			sentinel.BootUnknown: "is not known to boot as a replica", sentinel.BootMaster: "was seen to boot as a master", sentinel.BootReplica: ""}},
		"dumps": {[]string{"--save", "3600 1"}, redisio.KeepsDumps, map[sentinel.Boot]string{
			sentinel.BootUnknown: "", sentinel.BootMaster: "comes back with its last dump", sentinel.BootReplica: ""}},
		"append-only file": {[]string{"--appendonly", "yes"}, redisio.KeepsAll, map[sentinel.Boot]string{
			sentinel.BootUnknown: "", sentinel.BootMaster: "", sentinel.BootReplica: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := redis(t, redisproc.Options{Args: c.args})
			found, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{}, nil)
			if err != nil || found.Keeps != c.keeps || found.ConfigFile != "" {
				t.Fatalf("%+v %v", found, err)
			}
			for boots, want := range c.wanted {
				got := found.BootWarning(boots)
				if (got == "") != (want == "") || !strings.Contains(got, want) {
					t.Errorf("boots as %s: %q", boots, got)
				}
				if got != "" && !strings.Contains(got, "--replicaof 127.0.0.1 0") {
					t.Errorf("it does not say what to change: %q", got)
				}
			}
		})
	}
	with := redisio.Findings{Keeps: redisio.KeepsNothing, ConfigFile: "/etc/redis.conf"}
	if got := with.BootWarning(sentinel.BootUnknown); !strings.Contains(got, "after the file") || !strings.Contains(got, "/etc/redis.conf") {
		t.Errorf("the file is not told of: %q", got)
	}
}

func TestCheckSaysWhyItCannotReachAnInstance(t *testing.T) {
	s := redis(t, redisproc.Options{Password: "pw"})
	if _, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{Password: "no"}, nil); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("error is %v", err)
	}
	s.Kill()
	if _, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{}, nil); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error is %v", err)
	}
}
