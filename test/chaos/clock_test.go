//go:build linux

package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

const clockEnv = "TRIWATCH_CHAOS_CLOCK"

// tellTime prints wall clock and monotonic time whenever it is asked.
func tellTime() {
	start := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().Unix(), int64(time.Since(start)))
	}
}

func TestClockOfARunningProcessJumpsAndItsMonotonicClockDoesNot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another process' memory is root's to write on Linux")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), clockEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it ends with its input
	defer in.Close() //nolint:errcheck // likewise
	answers := bufio.NewReader(out)
	ask := func() (wall time.Duration, mono time.Duration) {
		t.Helper()
		if _, err := fmt.Fprintln(in); err != nil {
			t.Fatal(err)
		}
		var sec int64
		if _, err := fmt.Fscan(answers, &sec, &mono); err != nil {
			t.Fatal(err)
		}
		return time.Duration(sec-time.Now().Unix()) * time.Second, mono
	}
	ask()
	s, err := newSkew(cmd.Process.Pid)
	if errors.Is(err, errNoSkew) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, want := range []time.Duration{0, time.Hour, -24 * time.Hour, 0} {
		_, before := ask()
		if err := s.set(want); err != nil {
			t.Fatal(err)
		}
		got, after := ask()
		if (got-want).Abs() > 5*time.Second || after < before || after-before > 30*time.Second {
			t.Errorf("set to %v: the wall clock differs by %v, the monotonic clock went from %v to %v", want, got, before, after)
		}
	}
}
