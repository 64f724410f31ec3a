package notify

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// outputMax bounds what is kept of a program's output: its end, which says why it failed.
const outputMax = 2 << 10

// leftoverWait is how long a program that has ended may keep its output open through a
// child that it left behind.
const leftoverWait = 500 * time.Millisecond

// notRun is the exit code that Redis Sentinel gives a script that could not be run: it is
// not tried again.
const notRun = 2

// program runs programs in a directory.
type program struct{ dir string }

// run is a runner. A program that is killed is killed with its children.
func (p program) run(ctx context.Context, argv []string, started func(pid int)) ended {
	cmd, out := p.command(ctx, argv)
	if err := cmd.Start(); err != nil {
		return ended{exit: notRun, err: err}
	}
	started(cmd.Process.Pid)
	return outcome(cmd.Wait(), out.String())
}

func (p program) command(ctx context.Context, argv []string) (*exec.Cmd, *tail) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Path, cmd.Err = argv[0], nil // as it stands, no search along PATH
	out := &tail{}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = p.dir, out, out, leftoverWait
	ownGroup(cmd)
	return cmd, out
}

// outcome says how a program ended.
func outcome(err error, output string) ended {
	e := ended{output: output}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
	case errors.As(err, &exit):
		e.exit = exit.ExitCode()
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			e.exit, e.signal = 0, int(st.Signal())
		}
	default:
		e.exit, e.err = notRun, err
	}
	return e
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b[max(0, len(b)-outputMax):]...)
	if n := len(t.buf) - outputMax; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(b), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
