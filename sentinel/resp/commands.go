package resp

import (
	"bytes"
	"strings"
	"time"
)

// command is an entry of the command table.
type command struct {
	name       string // as error texts have it: "ping", "sentinel|masters"
	arity      int    // words, with the names; negative: at least that many
	noAuth     bool   // allowed before AUTH
	subscribed bool   // allowed in RESP2 while subscribed
	run        func(c *conn, args [][]byte)
	sub        map[string]*command
}

// commandTable returns the commands by their names in small letters.
func commandTable() map[string]*command {
	list := []*command{
		{name: "auth", arity: -2, noAuth: true, run: (*conn).auth},
		{name: "client", arity: -2, sub: table("client",
			&command{name: "getname", arity: 2, run: (*conn).clientGetName},
			&command{name: "id", arity: 2, run: (*conn).clientID},
			&command{name: "info", arity: 2, run: (*conn).clientInfo},
			&command{name: "list", arity: -2, run: (*conn).clientList},
			&command{name: "setinfo", arity: 4, run: (*conn).clientSetInfo},
			&command{name: "setname", arity: 3, run: (*conn).clientSetName})},
		{name: "command", arity: -1, run: (*conn).commandAll, sub: table("command",
			&command{name: "count", arity: 2, run: (*conn).commandCount},
			&command{name: "docs", arity: -2, run: (*conn).commandDocs},
			&command{name: "info", arity: -2, run: (*conn).commandInfo},
			&command{name: "list", arity: -2, run: (*conn).commandList})},
		{name: "hello", arity: -1, noAuth: true, run: (*conn).hello},
		{name: "info", arity: -1, run: (*conn).info},
		{name: "ping", arity: -1, subscribed: true, run: (*conn).ping},
		{name: "psubscribe", arity: -2, subscribed: true, run: (*conn).psubscribe},
		{name: "publish", arity: 3, run: (*conn).publish},
		{name: "punsubscribe", arity: -1, subscribed: true, run: (*conn).punsubscribe},
		{name: "quit", arity: -1, noAuth: true, subscribed: true, run: (*conn).quitNow},
		{name: "role", arity: 1, run: (*conn).role},
		{name: "sentinel", arity: -2, sub: sentinelTable()},
		{name: "subscribe", arity: -2, subscribed: true, run: (*conn).subscribe},
		{name: "unsubscribe", arity: -1, subscribed: true, run: (*conn).unsubscribe},
	}
	return table("", list...)
}

func sentinelTable() map[string]*command {
	return table("sentinel",
		&command{name: "ckquorum", arity: 3, run: (*conn).sentinelCkquorum},
		&command{name: "failover", arity: 3, run: (*conn).sentinelFailover},
		&command{name: "get-master-addr-by-name", arity: 3, run: (*conn).sentinelGetMasterAddr},
		&command{name: "help", arity: 2, run: (*conn).sentinelHelp},
		&command{name: "master", arity: 3, run: (*conn).sentinelMaster},
		&command{name: "masters", arity: 2, run: (*conn).sentinelMasters},
		&command{name: "myid", arity: 2, run: (*conn).sentinelMyID},
		&command{name: "replicas", arity: 3, run: (*conn).sentinelReplicas},
		&command{name: "sentinels", arity: 3, run: (*conn).sentinelSentinels},
		&command{name: "simulate-failure", arity: -3, run: (*conn).sentinelSimulateFailure},
		&command{name: "slaves", arity: 3, run: (*conn).sentinelReplicas})
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
	cmd := find(c.srv.commands, args[0])
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
	case (cmd.arity > 0 && len(args) != cmd.arity) || len(args) < -cmd.arity:
		c.wrongArity(cmd.name)
	case !c.authd && !cmd.noAuth:
		c.w.Error("NOAUTH Authentication required.")
	case !cmd.subscribed && c.w.proto == 2 && c.subs.count() > 0:
		c.w.Error("ERR Can't execute '" + cmd.name + "': only (P|S)SUBSCRIBE / " +
			"(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	default:
		c.last.Store(cmd)
		c.active.Store(time.Now().UnixMilli())
		cmd.run(c, args)
	}
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
