package resp

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freePort returns a port that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// program finds a program of Redis. Without it the test is skipped, except where
// CI says that everything is to be run.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not installed", name)
	default:
		t.Skipf("%s is not installed", name)
	}
	return ""
}

// launch runs a Redis program with a configuration until the test ends, and
// waits until it answers.
func launch(t testing.TB, name, config string) (port int) {
	t.Helper()
	path := program(t, name)
	port = freePort(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "redis.conf")
	config = "loglevel warning\nport " + strconv.Itoa(port) + "\nbind 127.0.0.1\ndir " + dir + "\n" + config
	noError(t, os.WriteFile(file, []byte(config), 0o600))
	var out bytes.Buffer
	cmd := exec.Command(path, file)
	cmd.Stdout, cmd.Stderr = &out, &out
	noError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s on port %d said:\n%s", name, port, out.String())
		}
	})
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	eventually(t, name+" answering", func() any { return addr }, func() bool {
		nc, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		_ = nc.Close()
		return !strings.Contains(dial(t, addr).do("PING"), "LOADING")
	})
	return port
}

// launchRedis runs a redis-server, as a replica if a master's port is given.
func launchRedis(t testing.TB, master int) int {
	t.Helper()
	config := "save \"\"\nrepl-diskless-sync-delay 0\n"
	if master != 0 {
		config += "replicaof 127.0.0.1 " + strconv.Itoa(master) + "\n"
	}
	return launch(t, "redis-server", config)
}

func localhost(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
