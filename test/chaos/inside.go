//go:build linux

package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/faults"
	"github.com/triwatch/triwatch/test/redisproc"
)

// insideEnv names the directory of the run to the process that is inside.
const (
	insideEnv    = "TRIWATCH_CHAOS_DIR"
	keepEnv      = "TRIWATCH_CHAOS_KEEP"
	alwaysEnv    = "TRIWATCH_CHAOS_ALWAYS"
	busyEnv      = "TRIWATCH_CHAOS_BUSY"
	dirPrefix    = "triwatch-chaos-"
	program      = "triwatch"
	scheduleFile = "schedule.txt"
)

// outside is what stays out of the lab and runs one schedule after the other.
type outside struct{ dir string }

// open builds the program, unless there is one already; the test is skipped with a
// sentence where no lab can be.
func open(t *testing.T, ready string) *outside {
	t.Helper()
	if why := impossible(); why != "" {
		t.Skip(why)
	}
	dir, err := newDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // the next run takes it away
	at := filepath.Join(dir, program)
	if ready != "" {
		if err := os.Symlink(ready, at); err != nil {
			t.Fatal(err)
		}
		return &outside{dir}
	}
	build := exec.Command("go", "build", "-o", at, "github.com/triwatch/triwatch/cmd/triwatch")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build triwatch: %v\n%s", err, out)
	}
	return &outside{dir}
}

// play runs a schedule in a process of its own that has new namespaces for network,
// mounts and processes. As the first process of its process namespace it takes all
// others with it, however it ends, and the network goes with the last process.
//
// What is known of a schedule that fails is kept in a directory of its own below keep.
func (o *outside) play(t *testing.T, s faults.Schedule, keep string, always bool) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, scheduleFile), []byte(s.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	at, err := filepath.Abs(filepath.Join(keep, fmt.Sprintf("seed-%d-%s", s.Seed, time.Now().UTC().Format("20060102-150405"))))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{keepEnv + "=" + at}
	if always {
		env = append(env, alwaysEnv+"=1")
	}
	if err := o.reexecute(t, "TestInside", env...); err != nil {
		t.Errorf("the schedule of seed %d failed: %v\n%s%s", s.Seed, err, s, keepSchedule(at, s))
	}
}

// keepSchedule makes sure that a failed schedule is kept, and says where and what to
// do with it. The process inside has written more, unless it ended too early for that.
func keepSchedule(at string, s faults.Schedule) string {
	file := filepath.Join(at, scheduleFile)
	if _, err := os.Stat(file); err != nil {
		err := errors.Join(os.MkdirAll(at, 0o755), os.WriteFile(file, []byte(s.String()), 0o644))
		if err != nil {
			return fmt.Sprintf("it could not be kept: %v", err)
		}
	}
	return fmt.Sprintf("It is kept with its timeline in %s\n"+
		"  again:         make chaos FILE=%s TIME=5m\n"+
		"  simulated:     go test ./test/sim -run TestChaosSchedules -sim.file %s -v\n"+
		"  as a test:     cp %s test/chaos/testdata/schedules/WHAT-IT-SHOWS.txt", at, file, file, file)
}

// impossible says in a sentence why there can be no lab here.
func impossible() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root on Linux"
	}
	for _, tool := range []string{"ip", "nft", "iptables", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Sprintf("%s is not installed (Debian: iproute2, nftables, iptables, util-linux)", tool)
		}
	}
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		return err.Error()
	}
	probe := exec.Command("true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if err := probe.Run(); err != nil {
		return "namespaces can't be made here: " + err.Error()
	}
	return ""
}

// newDir makes the directory of this run and sweeps those whose owners were killed.
// Nothing else outlives a run.
func newDir() (string, error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"[0-9]*-*"))
	if err != nil {
		return "", err
	}
	for _, d := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			os.RemoveAll(d) //nolint:errcheck // the next run tries again
		}
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make the run's directory: %w", err)
	}
	return dir, nil
}

// reexecute runs one test inside.
func (o *outside) reexecute(t *testing.T, test string, env ...string) error {
	t.Helper()
	// The parent-death signal is sent when the thread that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.timeout=0", "-test.v")
	cmd.Env = append(append(os.Environ(), insideEnv+"="+o.dir), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read from
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	w.Close() //nolint:errcheck // the child has its own
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			t.Log(strings.TrimRight(line, "\n"))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, cmd.Process.Kill())
		}
	}
	return cmd.Wait()
}

// settle makes the mounts private and gives the run a place of its own in memory, so
// that a slow disk of the machine is no fault that nobody asked for.
func settle(dir string) error {
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV
	mount := func(source, at, kind string, flags uintptr, data string) error {
		if err := syscall.Mount(source, at, kind, flags, data); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
		return nil
	}
	work := filepath.Join(dir, "work")
	return errors.Join(
		mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		mount("proc", "/proc", "proc", quiet, ""),
		mount("run", "/run", "tmpfs", quiet, "size=1m"),
		os.Mkdir("/run/netns", 0o755),
		os.MkdirAll(work, 0o755),
		mount("work", work, "tmpfs", quiet, "size=4g"),
	)
}

// smallDisk mounts a file system for one watcher, which can be filled.
func smallDisk(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("disk", dir, "tmpfs", 0, "size=24m"); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// fill takes all room of a directory's file system; the file's name is returned.
func fill(dir string) (string, error) {
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it ends with an error anyway
	for block := make([]byte, 1<<16); len(block) > 0; {
		_, err := f.Write(block)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			block = block[:len(block)/2]
		case err != nil:
			return "", err
		}
	}
	return name, nil
}
