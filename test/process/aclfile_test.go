package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
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
		as := func(user, password string) *redis.SentinelClient {
			c := redis.NewSentinelClient(&redis.Options{Addr: w.Addr(), Username: user, Password: password})
			t.Cleanup(func() { c.Close() })
			return c
		}
		admin, client := as("default", "secret"), as("app", "pw")
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
		r.wait("after a restart the user may do what was saved", func() error { return as("app", "pw").Master(t.Context(), name).Err() })
	})
}
