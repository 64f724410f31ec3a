package redisio

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/triwatch/triwatch/sentinel"
)

const (
	// rightsPeriod is the time between two questions what is allowed on one connection.
	rightsPeriod = time.Minute
	// rightsDelay is how long after a connection was made the first question waits: a
	// connection that replaces a lost one is evidence, and nothing else goes with it.
	rightsDelay = 200 * time.Millisecond
	// rightsPause is how long a server that does not answer the question at all, although
	// it answers PING, is left alone with it.
	rightsPause = 10 * time.Minute
)

// inquire asks what is allowed, over a connection that has just answered. It has the
// time until the next PING is due, so that no sign of life comes later for it; one that hangs
// costs a redial, which tells whether the server does.
func (pr *prober) inquire(t *turn, a answer, asked sentinel.Time) {
	var err error
	a.rights, err = t.link.askRights(min(t.target.Timeout, t.target.Ping))
	now := pr.pool.now()
	if err == nil {
		pr.send(t.target.Addr, a, asked, false)
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.rightsAt == t.rightsAt { // else it was asked for meanwhile
		pr.rightsAt = now + rightsPeriod
	}
	if err == nil {
		return
	}
	if !t.link.wire.lost.Load() && !t.link.wire.retired.Load() {
		pr.rightsNot = now + rightsPause
	}
	pr.breakDown(t)
}

// demand is a command that triwatch sends, with arguments as it sends them.
type demand struct {
	right sentinel.Right
	cmd   []string
}

// The commands as they are counted by ACL rules. SLAVEOF does in the place of
// REPLICAOF, so one of the two suffices.
func demands() []demand {
	return []demand{
		{sentinel.RightMove, []string{"REPLICAOF", "NO", "ONE"}},
		{sentinel.RightMove, []string{"SLAVEOF", "NO", "ONE"}},
		{sentinel.RightKill, []string{"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}},
		{sentinel.RightPause, []string{"CLIENT", "PAUSE", "1", "WRITE"}},
		{sentinel.RightUnpause, []string{"CLIENT", "UNPAUSE"}},
		{sentinel.RightRewrite, []string{"CONFIG", "REWRITE"}},
		{sentinel.RightConfigGet, []string{"CONFIG", "GET", "repl-ping-replica-period"}},
		{sentinel.RightConfigSet, []string{"CONFIG", "SET", "repl-ping-replica-period", "1"}},
		{sentinel.RightListen, []string{"SUBSCRIBE", WatchChannel}},
	}
}

// path is the command as "client|kill", or "client" where the server knows nothing of
// subcommands.
func (d demand) path(subcommands bool, renamed Renames) string {
	name := strings.ToLower(d.cmd[0])
	if subcommands && (name == "client" || name == "config") {
		return renamed.of(name) + "|" + strings.ToLower(d.cmd[1])
	}
	return renamed.of(name)
}

// deaf are the questions that the server does not let us ask. They are asked once per
// connection: each refusal is an entry in its ACL LOG.
type deaf struct{ acl, command, config bool }

// inquiry are the questions of one exchange.
type inquiry struct {
	link     *link
	demands  []demand
	dry      []*redis.Cmd // ACL DRYRUN of each demand
	user     *redis.Cmd   // ACL GETUSER
	commands *redis.Cmd   // COMMAND INFO of each demand
	config   *redis.Cmd
}

// askRights asks what is allowed, and waits at most timeout. Where the server would not
// tell anything, that is the answer.
func (l *link) askRights(timeout time.Duration) (*sentinel.Rights, error) {
	l.wire.within(timeout)
	ctx := context.Background()
	for {
		pipe := l.conn.Pipeline()
		q := l.inquire(ctx, pipe)
		if pipe.Len() == 0 {
			return &sentinel.Rights{User: l.user(), Unsure: true}, nil
		}
		if _, err := pipe.Exec(ctx); broken(err) || l.wire.lost.Load() {
			return nil, errors.Join(err, q.broken())
		}
		if err := q.broken(); err != nil {
			return nil, err
		}
		r, again := q.rights()
		if !again {
			return r, nil
		}
	}
}

// broken is the first answer that did not come.
func (q *inquiry) broken() error {
	for _, cmd := range append([]*redis.Cmd{q.user, q.commands, q.config}, q.dry...) {
		if cmd != nil && broken(cmd.Err()) {
			return cmd.Err()
		}
	}
	return nil
}

// inquire adds the questions to a pipeline. From Redis 7 on the server answers for
// each command whether the user may send it, and whether it exists at all; before, the user's rules
// are read, and COMMAND INFO tells what was renamed away.
func (l *link) inquire(ctx context.Context, pipe redis.Pipeliner) *inquiry {
	q := &inquiry{link: l, demands: demands()}
	seven := l.version == 0 || l.version >= 700
	switch {
	case l.deaf.acl:
	case seven:
		for _, d := range q.demands {
			args := []any{"ACL", "DRYRUN", l.user(), l.creds.Renamed.of(d.cmd[0])}
			for _, a := range d.cmd[1:] {
				args = append(args, a)
			}
			q.dry = append(q.dry, pipe.Do(ctx, args...))
		}
	case l.version >= 600:
		q.user = pipe.Do(ctx, "ACL", "GETUSER", l.user())
	}
	if q.dry == nil && !l.deaf.command {
		args := []any{"COMMAND", "INFO"}
		for _, d := range q.demands {
			args = append(args, d.path(seven, l.creds.Renamed))
		}
		q.commands = pipe.Do(ctx, args...)
	}
	if !l.deaf.config {
		q.config = pipe.Do(ctx, "CONFIG", "GET", "replica-read-only")
	}
	return q
}

// user is whom the server takes us for.
func (l *link) user() string {
	if l.creds.User == "" || l.creds.Password == "" {
		return "default"
	}
	return l.creds.User
}

// verdict is what was found out about one demand. Zero is unknown.
type verdict int

const (
	verdictUnknown verdict = iota
	verdictAllowed
	verdictDenied
	verdictGone
)

// rights reads the answers. again is set when other questions should be asked at once,
// because these were refused.
func (q *inquiry) rights() (r *sentinel.Rights, again bool) {
	found := make([]verdict, len(q.demands))
	out := &sentinel.Rights{User: q.link.user()}
	q.readConfig(out)
	q.readCommands(found)
	q.readDry(found)
	q.readUser(found)
	if q.dry != nil && q.link.deaf.acl {
		return nil, true
	}
	out.Unsure = q.link.deaf.acl || slices.Contains(found, verdictUnknown) && q.link.version >= 600
	out.Missing = q.missing(found)
	return out, false
}

// missing turns verdicts into rights: one is missing where no command gives it.
func (q *inquiry) missing(found []verdict) []sentinel.Missing {
	var out []sentinel.Missing
	for i := 0; i < len(q.demands); {
		right, gone, lacking := q.demands[i].right, true, true
		for ; i < len(q.demands) && q.demands[i].right == right; i++ {
			gone = gone && found[i] == verdictGone
			lacking = lacking && (found[i] == verdictGone || found[i] == verdictDenied)
		}
		if lacking {
			out = append(out, sentinel.Missing{Right: right, Gone: gone})
		}
	}
	return out
}

// refused reports whether an answer is the server's no to the question itself.
func refused(err error) bool {
	text, complained := errorReply(err)
	return complained && (sentinel.ClassifyError(text) == sentinel.ReplyAuth || isUnknownCommand(text))
}

func (q *inquiry) readConfig(out *sentinel.Rights) {
	if q.config == nil {
		return
	}
	found, err := q.config.Slice()
	q.link.deaf.config = refused(err)
	for i := 0; i+1 < len(found); i += 2 {
		if found[i] == "replica-read-only" {
			out.ReadOnly = sentinel.SettingOn
			if found[i+1] == "no" {
				out.ReadOnly = sentinel.SettingOff
			}
		}
	}
}

// readDry reads the answers to ACL DRYRUN: OK, a sentence why not, or an error.
func (q *inquiry) readDry(found []verdict) {
	for i, cmd := range q.dry {
		answer, err := cmd.Text()
		text, complained := errorReply(err)
		switch {
		case err == nil && answer == "OK":
			found[i] = verdictAllowed
		case err == nil:
			found[i] = verdictDenied
		case complained && strings.HasPrefix(text, "ERR Command") && strings.Contains(text, "not found"):
			found[i] = verdictGone
		case refused(err) || complained && strings.HasPrefix(text, "ERR unknown subcommand"):
			q.link.deaf.acl = true
		}
	}
}

// readCommands reads the answer to COMMAND INFO: null for a command that does not exist.
func (q *inquiry) readCommands(found []verdict) {
	if q.commands == nil {
		return
	}
	infos, err := q.commands.Slice()
	q.link.deaf.command = refused(err)
	if err != nil || len(infos) != len(found) {
		return
	}
	for i, info := range infos {
		if info == nil {
			found[i] = verdictGone
		}
	}
}

// readUser reads the answer to ACL GETUSER, which needs the categories that COMMAND
// INFO told.
func (q *inquiry) readUser(found []verdict) {
	if q.user == nil {
		return
	}
	fields, err := q.user.Slice()
	q.link.deaf.acl = refused(err)
	rules, ok := rulesOf(fields)
	if err != nil || !ok {
		return
	}
	var infos []any
	if q.commands != nil {
		infos, _ = q.commands.Slice() //nolint:errcheck // without it the categories are not known
	}
	for i, d := range q.demands {
		if found[i] == verdictGone {
			continue
		}
		var categories []string
		if i < len(infos) {
			categories = categoriesOf(infos[i])
		}
		found[i] = weighRules(rules, d.path(true, ""), categories)
	}
}
