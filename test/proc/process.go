package proc

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is one life of a child. Its methods may be called from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for

	mu     sync.Mutex
	ended  bool
	result error
}

// Spawn starts the command. The kernel sends the parent-death signal when the
// thread that forked ends, so one goroutine keeps its thread from the fork to the
// end of the child.
func Spawn(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	dieWithParent(cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		err := cmd.Wait()
		p.mu.Lock()
		p.ended, p.result = true, err
		p.mu.Unlock()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID is the process number; it may be somebody else's once the process has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends sig unless the process has ended.
func (p *Process) Signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return fmt.Errorf("send %s to process %d: it has ended (%s)", sig, p.cmd.Process.Pid, p.cmd.ProcessState)
	}
	return p.cmd.Process.Signal(sig)
}

// Kill ends the process at once and waits for it; killing a dead one is fine.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL) //nolint:errcheck // fails only if it has ended
	<-p.done
}

// Stop asks with SIGTERM, waits up to grace, then kills.
func (p *Process) Stop(grace time.Duration) {
	p.Signal(syscall.SIGCONT) //nolint:errcheck // fails only if it has ended
	p.Signal(syscall.SIGTERM) //nolint:errcheck // likewise
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited returns how the process ended and whether it did.
func (p *Process) Exited() (how string, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		return "", false
	}
	return p.cmd.ProcessState.String(), true
}

// ExitCode is the exit status once Exited; -1 if it was killed or still runs.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stopped reports whether the process is frozen; SIGSTOP takes effect some time
// after it was sent.
func (p *Process) Stopped() bool { return stopped(p.PID()) }

// CPU is the processor time that the process used, user and system, once it has
// ended; zero before.
func (p *Process) CPU() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		return 0
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}
