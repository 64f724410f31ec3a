package cluster_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/triwatch/triwatch/test/kube/cluster"
)

// envHang makes the test program enter and do nothing but wait, or end at once.
const envHang = "TRIWATCH_TEST_HANG"

// hang enters a namespace, starts a process as a cluster would, tells its state
// directory, and waits to be killed, or ends with exit code 7.
func hang() {
	inside, code, err := cluster.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !inside {
		os.Exit(code)
	}
	fmt.Println(os.Getenv("TRIWATCH_KUBE_DIR"))
	if os.Getenv(envHang) == "end" {
		os.Exit(7)
	}
	_ = exec.Command("sleep", "1111").Run()
}

// again runs this test program once more, from its outer run on, and returns its state directory.
func again(t *testing.T, mode string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TRIWATCH_KUBE_STAGE=") && !strings.HasPrefix(kv, "TRIWATCH_KUBE_DIR=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, envHang+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read state directory of the second program: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

func hangers(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ps", "-e", "-o", "pid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "sleep 1111") {
			found.WriteString(line)
		}
	}
	return found.String()
}

func netns(dir string) string { return filepath.Join("/var/run/netns", filepath.Base(dir)) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestKilledProgramTakesItsProcessesAlongAndTheNextRemovesTheRest(t *testing.T) {
	killed, dir := again(t, "wait")
	until(t, "the process of the second program runs", func() (string, bool) { return "", hangers(t) != "" })
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	until(t, "its processes have ended", func() (string, bool) { left := hangers(t); return left, left == "" })
	if !exists(dir) || !exists(netns(dir)) {
		t.Fatalf("the killed program has removed %s, so this test proves nothing", dir)
	}
	next, own := again(t, "end")
	_ = next.Wait()
	if code := next.ProcessState.ExitCode(); code != 7 {
		t.Errorf("the exit code of the innermost run is 7, the outer one ends with %d", code)
	}
	for _, left := range []string{dir, netns(dir), own, netns(own)} {
		if exists(left) {
			t.Errorf("%s is left", left)
		}
	}
}

func TestInterruptedProgramCleansUp(t *testing.T) {
	interrupted, dir := again(t, "wait")
	until(t, "the process of the second program runs", func() (string, bool) { return "", hangers(t) != "" })
	if err := interrupted.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = interrupted.Wait()
	if code := interrupted.ProcessState.ExitCode(); code != 130 {
		t.Errorf("the interrupted program ends with %d", code)
	}
	if left := hangers(t); left != "" {
		t.Errorf("processes are left: %s", left)
	}
	for _, left := range []string{dir, netns(dir)} {
		if exists(left) {
			t.Errorf("%s is left", left)
		}
	}
}
