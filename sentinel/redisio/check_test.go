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
		found, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{})
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
	found, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{User: "watch", Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	problems, warnings := strings.Join(found.Problems, "\n"), strings.Join(found.Warnings, "\n")
	for _, want := range []string{
		"replica-read-only", "link to the master", "neither REPLICAOF nor SLAVEOF", "may not send CLIENT KILL", "may not send CONFIG REWRITE",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("no problem %q in %q", want, problems)
		}
	}
	for _, want := range []string{"priority is 0", "replica-announced", "no persistence"} {
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

func TestCheckSaysWhyItCannotReachAnInstance(t *testing.T) {
	s := redis(t, redisproc.Options{Password: "pw"})
	if _, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{Password: "no"}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("error is %v", err)
	}
	s.Kill()
	if _, err := redisio.Check(t.Context(), addrOf(s), redisio.Credentials{}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error is %v", err)
	}
}
