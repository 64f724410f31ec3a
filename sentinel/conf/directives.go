package conf

import (
	"strconv"
	"strings"
	"time"
)

// directive says how one directive is read: exactly one of apply and named is set, except for "sentinel monitor" with neither.
type directive struct {
	usage    string
	min, max int // number of arguments; max < 0 is any number
	apply    func(*parser, line)
	named    func(*parser, *Master, line) // args[0] is the master's name
}

func (d directive) fits(n int) bool { return n >= d.min && (d.max < 0 || n <= d.max) }

// directives is the table of all accepted directives.
func directives() map[string]directive {
	t := map[string]directive{}
	addServer(t)
	addGlobal(t)
	addNamed(t)
	addOwn(t)
	addTLS(t)
	addIgnored(t)
	return t
}

func addServer(t map[string]directive) {
	t["port"] = directive{"port NUMBER", 1, 1, func(p *parser, l line) { p.portOrNone(l, &p.file.Port) }, nil}
	t["bind"] = directive{"bind ADDRESS...", 1, -1, func(p *parser, l line) {
		for _, a := range l.args {
			if !printable(a) {
				p.fail(l, "the address %q is empty or holds a blank or control character", a)
				return
			}
		}
		p.file.Binds = l.args
	}, nil}
	t["dir"] = directive{"dir PATH", 1, 1, func(p *parser, l line) {
		if l.args[0] == "" || strings.ContainsRune(l.args[0], 0) {
			p.fail(l, "the path of the data directory must not be empty or hold a zero byte")
			return
		}
		p.file.Dir = l.args[0]
	}, nil}
	t["requirepass"] = directive{"requirepass PASSWORD", 1, 1, func(p *parser, l line) { p.file.RequirePass = l.args[0] }, nil}
	t["protected-mode"] = directive{"protected-mode yes|no", 1, 1, func(p *parser, l line) {
		var on bool
		if p.yesNo(l, &on) {
			p.protectedMode = nil
			if on {
				p.protectedMode = &l
			}
			p.warn(l, "not used, access is decided by bind and requirepass")
		}
	}, nil}
	t["aclfile"] = directive{"aclfile PATH", 1, 1, func(p *parser, l line) {
		if strings.ContainsRune(l.args[0], 0) {
			p.fail(l, "the path must not hold a zero byte")
			return
		}
		p.file.ACLFile, p.aclFile = l.args[0], l
	}, nil}
	t["user"] = directive{"user NAME RULE...", 1, -1, func(p *parser, l line) {
		for _, u := range p.file.Users {
			if u.Name == l.args[0] {
				p.fail(l, "the user is there already in line %d%s, take one of the lines out", u.Line, of(u.file))
				return
			}
		}
		p.file.UsersIncluded = p.file.UsersIncluded || l.file != ""
		p.file.Users = append(p.file.Users, User{Name: l.args[0], Rules: l.args[1:], Line: l.n, file: l.file})
	}, nil}
}

func addGlobal(t map[string]directive) {
	t["sentinel monitor"] = directive{usage: "sentinel monitor NAME HOST PORT QUORUM", min: 4, max: 4}
	t["sentinel myid"] = directive{"sentinel myid ID", 1, 1, func(p *parser, l line) {
		if !isID(l.args[0]) {
			p.fail(l, "the id must be 40 hexadecimal digits; take the line out to get a fresh one")
			return
		}
		p.file.MyID = l.args[0]
	}, nil}
	t["sentinel announce-ip"] = directive{"sentinel announce-ip ADDRESS", 1, 1, func(p *parser, l line) {
		if l.args[0] != "" && !printable(l.args[0]) {
			p.fail(l, "the address must not hold blanks or control characters")
			return
		}
		p.file.AnnounceIP = l.args[0]
	}, nil}
	t["sentinel announce-port"] = directive{"sentinel announce-port NUMBER", 1, 1, func(p *parser, l line) {
		if l.args[0] == "0" { // Sentinel's "the same as port"
			p.file.AnnouncePort = 0
			return
		}
		p.port(l, l.args[0], &p.file.AnnouncePort)
	}, nil}
	t["sentinel current-epoch"] = directive{"sentinel current-epoch NUMBER", 1, 1, func(p *parser, l line) {
		p.epoch(l, l.args[0], &p.file.CurrentEpoch)
	}, nil}
	for name, field := range map[string]func(*File) *bool{
		"resolve-hostnames":     func(f *File) *bool { return &f.ResolveHostnames },
		"announce-hostnames":    func(f *File) *bool { return &f.AnnounceHostnames },
		"deny-scripts-reconfig": func(f *File) *bool { return &f.DenyScriptsReconfig },
	} {
		t["sentinel "+name] = directive{"sentinel " + name + " yes|no", 1, 1, func(p *parser, l line) { p.yesNo(l, field(p.file)) }, nil}
	}
	t["sentinel sentinel-user"] = directive{"sentinel sentinel-user NAME", 1, 1, func(p *parser, l line) {
		p.file.SentinelUser = l.args[0]
		p.warn(l, "not used yet")
	}, nil}
	t["sentinel sentinel-pass"] = directive{"sentinel sentinel-pass PASSWORD", 1, 1, func(p *parser, l line) {
		p.file.SentinelPass = l.args[0]
		p.warn(l, "not used yet")
	}, nil}
}

func addNamed(t map[string]directive) {
	add := func(name, args string, n int, f func(*parser, *Master, line)) {
		t["sentinel "+name] = directive{usage: "sentinel " + name + " NAME " + args, min: n + 1, max: n + 1, named: f}
	}
	add("down-after-milliseconds", "MILLISECONDS", 1, func(p *parser, m *Master, l line) { p.millis(l, l.args[1], 1, &m.DownAfter) })
	add("failover-timeout", "MILLISECONDS", 1, func(p *parser, m *Master, l line) { p.millis(l, l.args[1], 1, &m.FailoverTimeout) })
	add("parallel-syncs", "NUMBER", 1, func(p *parser, m *Master, l line) {
		p.number(l, l.args[1], 1, 1<<31-1, "the number of replicas repointed at once", &m.ParallelSyncs)
	})
	add("auth-user", "USER", 1, func(_ *parser, m *Master, l line) { m.AuthUser = l.args[1] })
	add("auth-pass", "PASSWORD", 1, func(_ *parser, m *Master, l line) { m.AuthPass = l.args[1] })
	add("config-epoch", "NUMBER", 1, func(p *parser, m *Master, l line) { p.epoch(l, l.args[1], &m.ConfigEpoch) })
	add("leader-epoch", "NUMBER", 1, func(p *parser, m *Master, l line) { p.epoch(l, l.args[1], &m.LeaderEpoch) })
	add("known-replica", "HOST PORT", 2, (*parser).knownReplica)
	add("known-slave", "HOST PORT", 2, (*parser).knownReplica)
	add("known-sentinel", "HOST PORT [ID]", 2, (*parser).knownSentinel)
	ks := t["sentinel known-sentinel"]
	ks.max++
	t["sentinel known-sentinel"] = ks

	add("notification-script", "PATH", 1, func(p *parser, m *Master, l line) {
		m.NotificationScript = l.args[1]
		p.script(m, l, "Notification script")
	})
	add("client-reconfig-script", "PATH", 1, func(p *parser, m *Master, l line) {
		m.ClientReconfigScript = l.args[1]
		p.script(m, l, "Client reconfiguration script")
	})
	add("rename-command", "COMMAND NEWNAME", 2, func(p *parser, m *Master, l line) {
		if m.RenamedCommands == nil {
			m.RenamedCommands = map[string]string{}
		}
		m.RenamedCommands[l.args[1]] = l.args[2]
	})
	add("master-reboot-down-after-period", "MILLISECONDS", 1, func(p *parser, m *Master, l line) {
		p.millis(l, l.args[1], 0, &m.MasterRebootDownAfter)
	})
}

// addOwn lists what only triwatch has; the names are those of the annotations.
func addOwn(t map[string]directive) {
	add := func(name, no, yes string, field func(*Master) *bool) {
		t["triwatch "+name] = directive{usage: "# triwatch: " + name + " NAME " + no + "|" + yes, min: 2, max: 2, named: func(p *parser, m *Master, l line) {
			switch strings.ToLower(l.args[1]) {
			case yes:
				*field(m) = true
			case no:
				*field(m) = false
			default:
				p.fail(l, "the value must be %s or %s, not %q", no, yes, cut(l.args[1]))
			}
		}}
	}
	add("fence", "off", "on", func(m *Master) *bool { return &m.Fence })
	add("unfenced-failover", "allow", "hold", func(m *Master) *bool { return &m.HoldUnfenced })
}

// addIgnored lists what Sentinel accepts because it is a redis-server in disguise, and what changes nothing about safety.
func addIgnored(t map[string]directive) {
	ignore := func(note string, names ...string) {
		for _, name := range names {
			t[name] = directive{name + " VALUE...", 1, -1, func(p *parser, l line) { p.warn(l, note) }, nil}
		}
	}
	ignore("not used, triwatch stays in the foreground and leaves that to its service manager", "daemonize", "supervised", "pidfile")
	ignore("not used, triwatch logs to standard error", "logfile", "loglevel", "syslog-enabled", "syslog-ident", "syslog-facility",
		"always-show-logo", "crash-log-enabled", "crash-memcheck-enabled", "acllog-max-len")
	ignore("not used, triwatch has limits of its own for connections", "tcp-backlog", "tcp-keepalive", "timeout", "maxclients",
		"unixsocket", "unixsocketperm", "bind-source-addr", "client-output-buffer-limit", "client-query-buffer-limit",
		"proto-max-bulk-len", "maxmemory-clients")
	ignore("not used, it is about a Redis with data", "save", "databases", "appendonly", "dbfilename", "maxmemory", "maxmemory-policy",
		"masterauth", "masteruser", "acl-pubsub-default")
	ignore("not used, it is about how Redis itself runs", "hz", "dynamic-hz", "latency-tracking", "latency-tracking-info-percentiles",
		"latency-monitor-threshold", "slowlog-log-slower-than", "slowlog-max-len", "set-proc-title", "proc-title-template",
		"oom-score-adj", "oom-score-adj-values", "disable-thp", "jemalloc-bg-thread", "io-threads", "io-threads-do-reads",
		"server_cpulist", "bio_cpulist", "aof_rewrite_cpulist", "bgsave_cpulist", "ignore-warnings", "activerehashing",
		"enable-protected-configs", "enable-debug-command", "enable-module-command")
}

func (p *parser) port(l line, s string, to *int) bool {
	return p.number(l, s, 1, 65535, "the port", to)
}

func (p *parser) number(l line, s string, lo, hi int, what string, to *int) bool {
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		p.fail(l, "%s must be a whole number from %d to %d, not %q", what, lo, hi, cut(s))
		return false
	}
	*to = n
	return true
}

func (p *parser) millis(l line, s string, lo int, to *time.Duration) bool {
	const most = 1 << 40 // far below an overflow of time.Duration, far above any use
	var n int
	if !p.number(l, s, lo, most, "the time in milliseconds", &n) {
		return false
	}
	*to = time.Duration(n) * time.Millisecond
	return true
}

func (p *parser) epoch(l line, s string, to *uint64) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		p.fail(l, "the epoch must be a whole number from 0 to 18446744073709551615, not %q", cut(s))
		return
	}
	*to = n
}

func (p *parser) yesNo(l line, to *bool) bool {
	switch strings.ToLower(l.args[0]) {
	case "yes":
		*to = true
	case "no":
		*to = false
	default:
		p.fail(l, "the value must be yes or no, not %q", cut(l.args[0]))
		return false
	}
	return true
}
