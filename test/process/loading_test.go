package process

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// A master that answers nothing but -LOADING for longer than it may is replaced, and made a
// replica when it has loaded; without the setting it is waited for.
func TestMasterThatLoadsForTooLongIsReplaced(t *testing.T) {
	for limit, moves := range map[time.Duration]bool{1500 * time.Millisecond: true, 0: false} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			scenario(t, func(t *T) {
				// While it loads it answers now and then, which must not be taken for silence.
				r := start(t, setup{downAfter: 5 * time.Second, conf: fmt.Sprintf("sentinel master-reboot-down-after-period %s %d\n", name, limit.Milliseconds()),
					redis: redisproc.Options{Args: []string{"--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no"}}})
				loaded := r.reload(r.redis[0], 350)
				if !moves {
					r.wait("it loads", func() error { return r.replies(r.redis[0], "LOADING") })
					if err := <-loaded; err != nil {
						t.Fatal(err)
					}
					r.settled("0")
					return
				}
				r.moved(r.redis[0])
				r.recorded("failover", "loading: ", "master-reboot-down-after-period")
				if err := <-loaded; err != nil {
					t.Fatal(err)
				}
				r.settled("1")
			})
		})
	}
}

// reload makes a Redis load that many keys again, 20 ms each, and tells when it has.
func (r *rig) reload(s *redisproc.Server, keys int) <-chan error {
	r.t.Helper()
	args := []string{"MSET"}
	for i := range keys {
		args = append(args, fmt.Sprint("key:", i), strings.Repeat("x", 500))
	}
	r.do(s, args...)
	r.do(s, "CONFIG", "SET", "key-load-delay", "20000")
	c, err := wire.Dial(r.t.Context(), s.Addr(), wire.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing more is done with it
	done := make(chan error, 1)
	go func() {
		reply, err := c.Do("DEBUG", "RELOAD")
		if err == nil {
			err = reply.Err()
		}
		done <- err
	}()
	return done
}

// replies returns an error unless a Redis answers PING with that error's code.
func (r *rig) replies(s *redisproc.Server, code string) error {
	reply, err := s.Do(r.t.Context(), "PING")
	if err == nil && (reply.Err() == nil || !strings.HasPrefix(reply.Err().Error(), code)) {
		err = fmt.Errorf("%s answers %q", s.Addr(), reply.Str)
	}
	return err
}
