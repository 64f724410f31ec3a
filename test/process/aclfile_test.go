package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/trio"
)

// Users of the Sentinel port that stand in a file of their own.
func TestUsersStandInAnACLFile(t *testing.T) {
	scenario(t, func(t *T) {
		users := filepath.Join(t.TempDir(), "users.acl")
		if err := os.WriteFile(users, []byte("user default on >secret ~* &* +@all\nuser app on >pw -@all +sentinel|get-master-addr-by-name\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := brought(t, setup{watchers: 1, conf: "aclfile " + users + "\n"}, nil, nil)
		w := r.trio.Watchers[0]
		r.wait("who has no password is turned away", func() error {
			_, err := w.MasterAddr(t.Context(), name)
			if err == nil || !strings.Contains(err.Error(), "NOAUTH") {
				return fmt.Errorf("%v", err)
			}
			return nil
		})
		admin, client := r.as(w, "default", "secret"), r.as(w, "app", "pw")
		r.wait("the master is told", func() error { return client.GetMasterAddrByName(t.Context(), name).Err() })
		if err := client.Master(t.Context(), name).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("what the user may not do: %v", err)
		}
		say := func(words ...any) {
			t.Helper()
			cmd := redis.NewStatusCmd(t.Context(), words...)
			if err := admin.Process(t.Context(), cmd); err != nil {
				t.Fatalf("%v: %v", words, err)
			}
		}
		say("ACL", "SETUSER", "app", "+sentinel|master")
		say("SENTINEL", "FLUSHCONFIG")
		if text, err := os.ReadFile(w.Conf()); err != nil || strings.Contains(string(text), "user app") || !strings.Contains(string(text), "aclfile "+users) {
			t.Errorf("sentinel.conf, %v:\n%s", err, text)
		}
		say("ACL", "SAVE")
		w.End()
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		r.wait("after a restart the user may do what was saved", func() error { return r.as(w, "app", "pw").Master(t.Context(), name).Err() })
	})
}

// as is a client of a watcher with a user of its own.
func (r *rig) as(w *trio.Watcher, user, password string) *redis.SentinelClient {
	c := redis.NewSentinelClient(&redis.Options{Addr: w.Addr(), Username: user, Password: password})
	r.t.Cleanup(func() { c.Close() })
	return c
}

// Users that stand in an included file: nothing writes them into sentinel.conf, where they would be twice.
func TestUsersStandInAnIncludedFile(t *testing.T) {
	scenario(t, func(t *T) {
		users := filepath.Join(t.TempDir(), "users.conf")
		if err := os.WriteFile(users, []byte("user default on >secret ~* &* +@all\nuser app on >pw -@all +sentinel|get-master-addr-by-name\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := brought(t, setup{watchers: 1, conf: "include " + users + "\n"}, nil, nil)
		w := r.trio.Watchers[0]
		r.wait("the master is told to whom it may be", func() error { return r.as(w, "app", "pw").GetMasterAddrByName(t.Context(), name).Err() })
		for _, words := range [][]any{{"ACL", "SETUSER", "more", "on", "nopass"}, {"SENTINEL", "FLUSHCONFIG"}} {
			if err := r.as(w, "default", "secret").Process(t.Context(), redis.NewStatusCmd(t.Context(), words...)); err != nil {
				t.Fatalf("%v: %v", words, err)
			}
		}
		if text, err := os.ReadFile(w.Conf()); err != nil || strings.Contains(string(text), "user ") || !strings.Contains(string(text), "include "+users) {
			t.Errorf("sentinel.conf, %v:\n%s", err, text)
		}
		w.End()
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		r.wait("it starts again", func() error { return r.as(w, "app", "pw").GetMasterAddrByName(t.Context(), name).Err() })
	})
}
