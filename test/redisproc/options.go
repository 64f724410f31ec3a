package redisproc

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/certs"
)

// Options say what to start. The zero value is a redis-server without persistence on a free port in a temporary directory.
type Options struct {
	// Dir is where data, log and configuration go; empty is a temporary directory that Stop takes away.
	Dir string
	// Port is the TCP port on 127.0.0.1; 0 is any free one.
	Port int
	// ReplicaOf is host:port of the master, or empty.
	ReplicaOf string
	// Password is asked of clients and used towards the master. With User empty it is the default user's.
	Password string
	// User is an ACL user to create with Password; the default user is then switched off.
	User string
	// UserRules are User's rules; empty is "~* &* +@all".
	UserRules string
	// TLS makes the port one under TLS, and the master's too; nil does not.
	TLS *certs.Files
	// Args come last on the command line, for example "--appendonly", "yes".
	Args []string
	// SentinelConf is the text of a sentinel.conf: not empty, it makes the process a Sentinel. A text without a port line gets one.
	SentinelConf string
	// Binary is the program; empty is redis-server (or redis-sentinel) in PATH.
	Binary string
	// StartTimeout bounds the wait for the first answer; 0 is 10 seconds.
	StartTimeout time.Duration
}

func (o Options) validate() error {
	if o.User != "" && o.Password == "" {
		return fmt.Errorf("start redis: the user %q needs a password", o.User)
	}
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("start redis: the port must be 0 (any) to 65535, not %d", o.Port)
	}
	if _, _, ok := strings.Cut(o.ReplicaOf, ":"); o.ReplicaOf != "" && !ok {
		return fmt.Errorf("start redis: the master %q must be host:port", o.ReplicaOf)
	}
	return nil
}

// serverArgs is the command line of a redis-server.
func (o Options) serverArgs(dir string, port int) []string {
	args := []string{"--port", strconv.Itoa(port)} // first: Binary may be a script that looks for it there
	if o.TLS != nil {
		args = []string{"--port", "0", "--tls-port", strconv.Itoa(port)}
		for _, l := range o.TLS.Lines() {
			args = append(args, "--"+l[0], l[1])
		}
	}
	args = append(args, "--bind", "127.0.0.1", "--dir", dir, "--logfile", "", "--daemonize", "no",
		"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
	if i := strings.LastIndexByte(o.ReplicaOf, ':'); i >= 0 {
		args = append(args, "--replicaof", o.ReplicaOf[:i], o.ReplicaOf[i+1:])
	}
	if o.Password != "" {
		args = append(args, "--masterauth", o.Password)
	}
	switch {
	case o.User != "":
		rules := o.UserRules
		if rules == "" {
			rules = "~* &* +@all"
		}
		args = append(args, "--masteruser", o.User, "--user", "default", "off", "--user", o.User, "on", ">"+o.Password)
		args = append(args, strings.Fields(rules)...)
	case o.Password != "":
		args = append(args, "--requirepass", o.Password)
	}
	return append(args, o.Args...)
}

// ErrNoBinary is returned when neither PATH nor Options.Binary leads to a program.
var ErrNoBinary = errors.New("program not found")

// LookupBinary finds name ("redis-server" or "redis-sentinel") in PATH; a path is checked as it is. The error says how to install it.
func LookupBinary(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	deb := "redis-server"
	if strings.HasSuffix(name, "sentinel") {
		deb = "redis-sentinel"
	}
	return "", fmt.Errorf("find %s: %w; install it (Debian, Ubuntu: apt-get install %s; Fedora: dnf install redis; macOS: brew install redis) or name its path",
		name, ErrNoBinary, deb)
}

// command returns the program and the arguments that come before all others.
func (o Options) command() (string, []string, error) {
	name := o.Binary
	if name == "" && o.SentinelConf != "" {
		if path, err := exec.LookPath("redis-sentinel"); err == nil {
			return path, nil, nil
		}
		// Where only the server is installed, it is the same program.
		if path, err := exec.LookPath("redis-server"); err == nil {
			return path, []string{"--sentinel"}, nil
		}
		name = "redis-sentinel"
	}
	if name == "" {
		name = "redis-server"
	}
	path, err := LookupBinary(name)
	return path, nil, err
}
