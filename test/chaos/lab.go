//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// Member is one machine of the lab: a network namespace with one address. The client is
// where this process is.
type Member struct {
	Name, IP string
}

const clientName = "client"

// The members' addresses lie in a network that exists in the lab only.
func labMembers() []Member {
	return []Member{
		{clientName, "10.77.0.1"},
		{"r1", "10.77.0.11"}, {"r2", "10.77.0.12"}, {"r3", "10.77.0.13"},
		{"w1", "10.77.0.21"}, {"w2", "10.77.0.22"}, {"w3", "10.77.0.23"},
	}
}

// lab is the network. Its namespaces have names in a mount namespace of their own and
// are gone with the last process.
type lab struct {
	members []Member
	byName  map[string]Member

	mu     sync.Mutex
	cuts   map[[2]string]int // from, to: how many faults cut this way
	queues map[string]*delayLine
}

// newLab joins all members by a bridge that has no way out.
func newLab() (*lab, error) {
	l := &lab{members: labMembers(), byName: map[string]Member{}, cuts: map[[2]string]int{}, queues: map[string]*delayLine{}}
	var own, bridge strings.Builder
	own.WriteString("netns add bridge\nlink set lo up\n")
	bridge.WriteString("link add name br0 type bridge\nlink set br0 up\n")
	for _, m := range l.members {
		l.byName[m.Name] = m
		if m.Name != clientName {
			fmt.Fprintf(&own, "netns add %s\n", m.Name)
		}
	}
	for _, m := range l.members {
		to := " netns " + m.Name
		if m.Name == clientName {
			to = ""
		}
		fmt.Fprintf(&own, "link add eth0%s type veth peer name %s netns bridge\n", to, m.Name)
		fmt.Fprintf(&bridge, "link set %s master br0 up\n", m.Name)
	}
	if err := run(own.String(), "ip", "-batch", "-"); err != nil {
		return nil, err
	}
	if err := run(bridge.String(), "ip", "-n", "bridge", "-batch", "-"); err != nil {
		return nil, err
	}
	for _, m := range l.members {
		args := l.in(m.Name, "ip", "-batch", "-")
		if err := run(fmt.Sprintf("addr add %s/24 dev eth0\nlink set lo up\nlink set eth0 up\n", m.IP), args...); err != nil {
			return nil, err
		}
		if err := l.nft(m.Name, table); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// table is what every member filters with. What comes from a member in the set "from"
// is dropped where it arrives, so that a way can be blocked and the way back not.
const table = `table inet chaos {
  set from { type ipv4_addr; }
  chain input {
    type filter hook input priority 0; policy accept;
    iif lo accept
    ip saddr @from drop
    jump lose
  }
  chain lose { }
}
`

// run runs a program with text as its standard input.
func run(input string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// in is a command line that runs in a member's namespace; the process number stays.
func (l *lab) in(member string, args ...string) []string {
	if member == clientName {
		return args
	}
	return append([]string{"ip", "netns", "exec", member}, args...)
}

func (l *lab) nft(member, text string) error { return run(text, l.in(member, "nft", "-f", "-")...) }

// cut drops everything on the ways from one group to the other. The returned function
// takes that back; a way that several faults cut is open again after the last.
func (l *lab) cut(from, to []string) (undo func() error, err error) {
	if err := l.count(from, to, 1); err != nil {
		return nil, err
	}
	return func() error { return l.count(from, to, -1) }, nil
}

func (l *lab) count(from, to []string, by int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change := map[string][]string{}
	for _, a := range from {
		for _, b := range to {
			way := [2]string{a, b}
			if a == b {
				continue
			}
			was := l.cuts[way]
			l.cuts[way] = was + by
			if (was == 0) != (was+by == 0) {
				change[b] = append(change[b], l.byName[a].IP)
			}
		}
	}
	word := "add"
	if by < 0 {
		word = "delete"
	}
	for _, b := range slices.Sorted(maps.Keys(change)) {
		if err := l.nft(b, fmt.Sprintf("%s element inet chaos from { %s }\n", word, strings.Join(change[b], ", "))); err != nil {
			return err
		}
	}
	return nil
}

// lose drops a share, in per mille, of what arrives at a member. The second fault of
// this kind at one member takes the place of the first.
func (l *lab) lose(member string, permille int) (undo func() error, err error) {
	none := "flush chain inet chaos lose\n"
	err = l.nft(member, none+fmt.Sprintf("add rule inet chaos lose numgen random mod 1000 < %d drop\n", permille))
	return func() error { return l.nft(member, none) }, err
}
