package resp

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// command is an entry of the command table.
type command struct {
	name       string // as error texts have it: "ping", "sentinel|masters"
	arity      int    // words, with the names; negative: at least that many
	flags      cmdFlags
	cats       category // those that do not follow from the flags
	tips       []string
	usage      string // its arguments, for HELP
	about      string // one sentence, for HELP and COMMAND DOCS
	noAuth     bool   // allowed before AUTH
	subscribed bool   // allowed in RESP2 while subscribed
	channels   channelArgs
	run        func(c *conn, args [][]byte)
	sub        map[string]*command
	// as names the command whose permissions count for this one, which is not
	// Sentinel's own and not listed.
	as     string
	hidden bool
	mayEnd string // a word that may come last besides
	id     int
}

// channelArgs says which arguments are channels.
type channelArgs int

const (
	noChannels      channelArgs = iota
	manyChannels                // all of them
	channelPatterns             // all of them, and they are patterns
	oneChannel                  // the first
)

// cmdFlags are the flags that COMMAND shows.
type cmdFlags uint16

// The flags, in the order in which Redis shows them.
const (
	fAdmin cmdFlags = 1 << iota
	fPubsub
	fNoscript
	fLoading
	fStale
	fFast
	fNoAuth
	fNoMulti
	fAllowBusy

	fAnytime = fNoscript | fLoading | fStale
)

func (f cmdFlags) words() []string {
	var out []string
	for n, w := range []string{"admin", "pubsub", "noscript", "loading", "stale", "fast", "no_auth", "no_multi", "allow_busy"} {
		if f&(1<<n) != 0 {
			out = append(out, w)
		}
	}
	return out
}

// category is a set of ACL categories.
type category uint32

// categories returns the names in the order of their bits.
func categories() []string {
	return []string{"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
		"pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting"}
}

// The categories that commands of a Sentinel are in.
const (
	catPubsub category = 1 << (iota + 12)
	catAdmin
	catFast
	catSlow
	catBlocking
	catDangerous
	catConnection
)

// categories returns all that a command is in.
func (cmd *command) categories() category {
	cats := cmd.cats
	if cmd.flags&fAdmin != 0 {
		cats |= catAdmin | catDangerous
	}
	if cmd.flags&fPubsub != 0 {
		cats |= catPubsub
	}
	if cmd.flags&fFast != 0 {
		return cats | catFast
	}
	return cats | catSlow
}

func (cmd *command) wrongArity(n int) bool {
	return cmd.arity > 0 && n != cmd.arity || n < -cmd.arity
}

// endsWith says whether the word that may come last does.
func (cmd *command) endsWith(args [][]byte) bool {
	return cmd.mayEnd != "" && len(args) == cmd.arity+1 && is(args[cmd.arity], cmd.mayEnd)
}

// tables are the commands by their names in small letters, and in order.
type tables struct {
	top  map[string]*command
	list []*command // with subcommands, without hidden ones
	all  cmdSet
}

func newTables() *tables {
	t := &tables{top: table("", commandList()...)}
	for _, name := range commandNames(t.top) {
		t.number(t.top[name])
		for _, sub := range commandNames(t.top[name].sub) {
			t.number(t.top[name].sub[sub])
		}
	}
	for _, cmd := range t.top {
		cmd.id = t.idOf(cmd)
		for _, sub := range cmd.sub {
			sub.id = t.idOf(sub)
		}
	}
	return t
}

// number gives a command its id.
func (t *tables) number(cmd *command) {
	if !cmd.hidden {
		cmd.id = len(t.list)
		t.list = append(t.list, cmd)
		t.all.set(cmd.id, true)
	}
}

func (t *tables) idOf(cmd *command) int {
	if cmd.as != "" {
		return t.lookup(cmd.as).id
	}
	return cmd.id
}

// lookup finds a listed command by its full name.
func (t *tables) lookup(name string) *command {
	first, second, isSub := strings.Cut(strings.ToLower(name), "|")
	cmd := t.top[first]
	if cmd != nil && isSub {
		cmd = cmd.sub[second]
	}
	if cmd == nil || cmd.hidden {
		return nil
	}
	return cmd
}

// command finds the command that words would run, nil if there is none.
func (t *tables) command(words [][]byte) *command {
	cmd := find(t.top, words[0])
	if cmd != nil && cmd.sub != nil && len(words) > 1 {
		return find(cmd.sub, words[1])
	}
	return cmd
}

// names lists the full names of commands.
func (t *tables) names(keep func(*command) bool) []string {
	out := []string{}
	for _, cmd := range t.list {
		if keep(cmd) {
			out = append(out, cmd.name)
		}
	}
	return out
}

// commandNames returns the names in the table, sorted, without hidden ones.
func commandNames(m map[string]*command) []string {
	names := make([]string, 0, len(m))
	for name, cmd := range m {
		if !cmd.hidden {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// table makes a map of commands, the name of their container in front.
func table(container string, list ...*command) map[string]*command {
	m := make(map[string]*command, len(list))
	for _, cmd := range list {
		m[cmd.name] = cmd
		if container != "" {
			cmd.name = container + "|" + cmd.name
		}
	}
	return m
}

// find looks a name up whatever its case, without making garbage.
func find(m map[string]*command, name []byte) *command {
	var low [32]byte
	if len(name) > len(low) {
		return nil
	}
	for i, ch := range name {
		if ch >= 'A' && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		low[i] = ch
	}
	return m[string(low[:len(name)])]
}

// run checks one command in the order in which Redis does, and runs it.
func (c *conn) run(args [][]byte) {
	c.srv.stats.commands.Add(1)
	cmd := find(c.srv.tables.top, args[0])
	switch {
	case cmd == nil && isHTTP(args[0]):
		// Somebody's browser was talked into talking to us; the lines that
		// follow would be commands. As Redis does, not another word.
		c.quit = true
		c.kill()
		return
	case cmd == nil:
		c.w.Error(unknownCommand(args))
		return
	case cmd.sub != nil && len(args) > 1:
		sub := find(cmd.sub, args[1])
		if sub == nil {
			c.w.Error("ERR unknown subcommand '" + clip(args[1], 128) + "'. Try " + strings.ToUpper(cmd.name) + " HELP.")
			return
		}
		cmd = sub
	}
	switch {
	case cmd.wrongArity(len(args)) && !cmd.endsWith(args):
		c.wrongArity(cmd.name)
	case !c.authd && !cmd.noAuth:
		c.w.Error("NOAUTH Authentication required.")
	case !c.allowed(cmd, args):
	case !cmd.subscribed && c.w.proto == 2 && c.subs.count() > 0:
		c.w.Error("ERR Can't execute '" + cmd.name + "': only (P|S)SUBSCRIBE / " +
			"(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	default:
		c.last.Store(cmd)
		c.active.Store(time.Now().UnixMilli())
		cmd.run(c, args)
	}
}

// allowed says whether the user of the connection may run a command, and if not says
// so to the client and in the log of refusals.
func (c *conn) allowed(cmd *command, args [][]byte) bool {
	if cmd.noAuth {
		return true
	}
	v, channel := c.user.rights.Load().judge(cmd, args)
	switch v {
	case permitted:
		return true
	case deniedCommand:
		c.last.Store(cmd)
		c.refusedACL("command", cmd.name, c.user.name)
		c.w.Error("NOPERM this user has no permissions to run the '" + cmd.name + "' command")
	case deniedChannel:
		c.last.Store(cmd)
		c.refusedACL("channel", channel, c.user.name)
		c.w.Error("NOPERM this user has no permissions to access one of the channels used as arguments")
	}
	return false
}

func isHTTP(name []byte) bool {
	return bytes.EqualFold(name, []byte("post")) || bytes.EqualFold(name, []byte("host:"))
}

func (c *conn) wrongArity(name string) {
	c.w.Error("ERR wrong number of arguments for '" + name + "' command")
}

// unknownCommand words the error as Redis does, which shows no more than about
// 128 bytes of the name and as many of the arguments.
func unknownCommand(args [][]byte) string {
	var list strings.Builder
	for _, a := range args[1:] {
		if list.Len() >= 128 {
			break
		}
		list.WriteString("'" + clip(a, 128-list.Len()) + "' ")
	}
	return "ERR unknown command '" + clip(args[0], 128) + "', with args beginning with: " + list.String()
}

// clip returns at most n bytes of b, and nothing behind a zero byte: Redis
// prints C strings.
func clip(b []byte, n int) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), n)])
}

// is compares a word of a command without regard to case.
func is(arg []byte, word string) bool { return strings.EqualFold(string(arg), word) }
