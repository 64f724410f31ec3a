package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is where the figures were measured.
type machine struct {
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	Redis string `json:"redis"`
	// Load is the load average of the last minute, -1 if it can't be read.
	Load float64 `json:"load1"`
	// Nice is this process's, and by that every child's, niceness.
	Nice int `json:"nice"`
}

// quietLoad is the load average above which figures are noise.
const quietLoad = 1.5

func thisMachine(ctx context.Context) machine {
	m := machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Redis: "unknown", Load: -1}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if m.Load, err = parseLoad(string(b)); err != nil {
			m.Load = -1
		}
	}
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		if f, err := statFields(b); err == nil {
			m.Nice, _ = strconv.Atoi(f[statNice])
		}
	}
	if out, err := exec.CommandContext(ctx, "redis-server", "--version").Output(); err == nil {
		for f := range strings.FieldsSeq(string(out)) {
			if v, ok := strings.CutPrefix(f, "v="); ok {
				m.Redis = v
			}
		}
	}
	return m
}

func (m machine) warnings() []string {
	var out []string
	if m.Load > quietLoad {
		out = append(out, fmt.Sprintf("the load average was %.2f at the start (above %.1f): something else runs here, the figures are noise", m.Load, quietLoad))
	}
	if m.Nice != 0 {
		out = append(out, fmt.Sprintf("the bench runs at nice %d instead of 0, and so does all that it starts", m.Nice))
	}
	return out
}

func parseLoad(text string) (float64, error) {
	one, _, _ := strings.Cut(text, " ")
	return strconv.ParseFloat(one, 64)
}

// The fields of /proc/PID/stat that are read, counted from the state, which is field 3 in proc(5).
const (
	statUser   = 14 - 3
	statSystem = 15 - 3
	statNice   = 19 - 3
)

// clockTick is the unit of the times in /proc/PID/stat: Linux says 100 per second to programs on every machine that Go runs on.
const clockTick = 10 * time.Millisecond

var errStat = errors.New("read /proc/PID/stat: too few fields")

// statFields are the fields from the state on. The name before them is in brackets and may hold brackets and spaces itself.
func statFields(b []byte) ([]string, error) {
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) <= statNice {
		return nil, errStat
	}
	return f, nil
}

func parseCPU(b []byte) (time.Duration, error) {
	f, err := statFields(b)
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseInt(f[statUser], 10, 64)
	system, err2 := strconv.ParseInt(f[statSystem], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("read /proc/PID/stat: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// cpuTime is the processor time that some processes have used, user and system, all threads.
func cpuTime(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		d, err := parseCPU(b)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func parseRSS(text string) (float64, error) {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, errors.New("read /proc/PID/status: no VmRSS line")
}

// rss is the resident memory of a process in megabytes (1e6 bytes).
func rss(pid int) (float64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	return parseRSS(string(b))
}
