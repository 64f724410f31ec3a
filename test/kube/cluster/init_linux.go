package cluster

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// sysctls are the settings of the whole machine that kubelet sets. Each run gives
// it a file to write to in their place, with the value that kubelet wants to see.
var sysctls = map[string]string{ // constant
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// runInit is process 1 of the new pid namespace: it mounts, starts the program
// that works, and collects every orphan until that program ends. When it returns and
// the process ends, the kernel ends all that is left in the namespace.
func runInit() (code int, err error) {
	dir := os.Getenv(envDir)
	if err := mountPrivate(dir); err != nil {
		return 2, err
	}
	self, err := os.Executable()
	if err != nil {
		return 2, fmt.Errorf("find this program: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	env := []string{envStage + "=inside"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, envStage+"=") {
			env = append(env, kv)
		}
	}
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env: env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return 2, fmt.Errorf("start this program in its namespaces: %w", err)
	}
	go func() { // ends with the process, which exits when runInit has returned
		for s := range signals {
			_ = syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 2, fmt.Errorf("wait for this program: %w", err)
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case got == pid && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}

// mountPrivate hides the places of the machine that a cluster writes to.
func mountPrivate(dir string) error {
	mount := func(source, target, kind string, flags uintptr) error {
		if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", source, target, err)
		}
		return nil
	}
	if err := mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0); err != nil {
		return err
	}
	for _, target := range hidden {
		if err := mount("tmpfs", target, "tmpfs", 0); err != nil {
			return err
		}
	}
	for name, value := range sysctls {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue // kubelet will not find it either
		}
		file := filepath.Join(dir, "sysctl", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("prepare sysctl: %w", err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("prepare sysctl: %w", err)
		}
		if err := mount(file, target, "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}
