package resp

import (
	"fmt"
	"strings"
	"testing"
)

func TestUsersOfTheConfigurationMayDoWhatTheirLinesSay(t *testing.T) {
	s, addr := startServer(t, oneMaster(6379), Options{Password: "sesame", Users: []User{
		{Name: "reader", Rules: []string{"on", ">r", "-@all", "+sentinel|get-master-addr-by-name", "+subscribe", "resetchannels", "&+switch-master"}},
		{Name: "gone", Rules: []string{"off", ">g", "+@all"}},
	}})
	c := dial(t, addr)
	equal(t, "-WRONGPASS invalid username-password pair or user is disabled.", c.do("AUTH gone g"))
	equal(t, "-NOAUTH Authentication required.", c.do("SENTINEL get-master-addr-by-name orders"))
	equal(t, "+OK", c.do("AUTH reader r"))
	equal(t, `*[$"127.0.0.1" $"6379"]`, c.do("SENTINEL get-master-addr-by-name orders"))
	equal(t, `*[$"127.0.0.1" $"6379"]`, c.do("SENTINEL get-primary-addr-by-name orders"), "Valkey's name stands for Sentinel's")
	equal(t, "-NOPERM this user has no permissions to run the 'sentinel|masters' command", c.do("SENTINEL masters"))
	equal(t, "-NOPERM this user has no permissions to run the 'sentinel|primaries' command", c.do("SENTINEL primaries"))
	equal(t, "-NOPERM this user has no permissions to access one of the channels used as arguments", c.do("SUBSCRIBE +sdown"))
	equal(t, `*[$"subscribe" $"+switch-master" :1]`, c.do("SUBSCRIBE +switch-master"))

	admin := dial(t, addr)
	equal(t, "+OK", admin.do("AUTH sesame"))
	contains(t, admin.do("CLIENT LIST"), "user=reader")
	contains(t, admin.do("ACL LOG"), `$"object" $"sentinel|masters" $"username" $"reader"`)
	equal(t, "+OK", admin.do("ACL SETUSER reader resetchannels"))
	equal(t, "closed", c.next(), "who listens to what he may not hear any more is cut off")
	equal(t, 3, len(s.Users()))
	equal(t, ":1", admin.do("ACL DELUSER gone"))
	equal(t, 2, len(s.Users()))
}

func TestWrongUserLineIsNamedWithoutItsSecret(t *testing.T) {
	for rules, want := range map[string]string{"on s3cret": `user "app": Syntax error`, "on +nosuch": `user "app": Unknown command or category name in ACL`} {
		_, err := NewServer(oneMaster(1), Options{Users: []User{{Name: "app", Rules: strings.Fields(rules)}}})
		errorContains(t, err, want)
		truth(t, !strings.Contains(err.Error(), "s3cret"), "the secret is shown: %v", err)
	}
}

func TestRulesThatAUserIsShownWithMakeTheSameUser(t *testing.T) {
	tables := newTables()
	for _, rules := range []string{
		"", "+@all", "+@all -@dangerous", "-@all +ping", "+@all -sentinel", "+@admin -sentinel|failover", "+@pubsub +sentinel -sentinel|failover",
		"on nopass ~a %R~b &c* +role|x (+ping ~x) (+@all -@all +acl|whoami)", "+@all -sentinel|help +@connection -client",
	} {
		first := &rights{root: &selector{}}
		noError(t, first.apply(tables, strings.Fields(rules)), rules)
		again := &rights{root: &selector{}}
		noError(t, again.apply(tables, first.words(tables)), rules)
		equal(t, first.root.allowed, again.root.allowed, rules)
		equal(t, fmt.Sprint(first.words(tables)), fmt.Sprint(again.words(tables)), rules)
	}
}

func TestRefusalsAndUsersAreBounded(t *testing.T) {
	before := heap()
	s, addr := startServer(t, oneMaster(1), Options{Password: "sesame"})
	c := dial(t, addr)
	for i := range 1000 {
		contains(t, c.do(fmt.Sprintf("AUTH %d%s x", i, strings.Repeat("u", 5000))), "WRONGPASS")
	}
	equal(t, aclLogMax, len(s.acllog.latest(10_000)))
	less(t, heap()-before, int64(4<<20))
	equal(t, "+OK", c.do("AUTH sesame"))
	for i := range maxUsers - 1 {
		equal(t, "+OK", c.do(fmt.Sprintf("ACL SETUSER u%d", i)))
	}
	equal(t, "-ERR too many users", c.do("ACL SETUSER one-more"))
	equal(t, "+OK", c.do("ACL SETUSER u0 on"))
}

func TestSilencedClientCostsNoMemory(t *testing.T) {
	_, addr := startServer(t, oneMaster(1), Options{})
	c := dial(t, addr)
	c.send("PING first\r\nCLIENT REPLY OFF\r\n")
	before := heap()
	line := strings.Repeat(multibulk("PING", strings.Repeat("x", 1000)), 100)
	for range 200 {
		c.send(line)
	}
	less(t, heap()-before, int64(4<<20))
	equal(t, `$"first"`, c.next())
	equal(t, "+OK", c.do("CLIENT REPLY ON"))
	equal(t, "+PONG", c.do("PING"))
	c.send("CLIENT REPLY SKIP\r\nCOMMAND\r\nPING\r\n")
	equal(t, "+PONG", c.next())
}

func TestShutdownEndsOnlyWhatItIsAskedTo(t *testing.T) {
	f := oneMaster(1)
	_, addr := startServer(t, f, Options{})
	equal(t, "-ERR No shutdown in progress.", dial(t, addr).do("SHUTDOWN ABORT"))
	equal(t, 0, f.shut)
	equal(t, "closed", dial(t, addr).do("SHUTDOWN NOSAVE NOW"))
	eventually(t, "the shutdown", func() any { return f.shut }, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.shut == 1 })
}

func TestPendingScriptsAreShownAsSentinelShowsThem(t *testing.T) {
	f := oneMaster(1)
	f.scripts = []Script{{Argv: []string{"/bin/x", "a"}, Running: true, PID: 7, RunTime: 1500e6}, {Argv: []string{"/bin/y"}, Delay: 30e9, Retries: 2}}
	_, addr := startServer(t, f, Options{})
	c := dial(t, addr)
	equal(t, `*[*[$"argv" *[$"/bin/x" $"a"] $"flags" $"running" $"pid" $"7" $"run-time" $"1500" $"retry-num" $"0"] `+
		`*[$"argv" *[$"/bin/y"] $"flags" $"scheduled" $"pid" $"0" $"run-delay" $"30000" $"retry-num" $"2"]]`, c.do("SENTINEL pending-scripts"))
	contains(t, c.do("INFO sentinel"), `sentinel_running_scripts:1\r\nsentinel_scripts_queue_length:2`)
}
