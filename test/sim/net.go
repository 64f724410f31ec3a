package sim

import "time"

// network joins all nodes: the watchers first, then the instances. Everything on it
// is TCP: a lost packet is a late one, a blocked one arrives when the block is gone
// if both ends still wait for it.
type network struct {
	w       *world
	n       int
	blocked []int // by from*n+to, counts overlapping partitions
	loss    float64
	slow    time.Duration
	at      []lateness // by node
}

// lateness is what befalls what reaches a node: on top of what befalls everything.
type lateness struct {
	loss          float64
	delay, jitter time.Duration
}

const retransmit = 200 * time.Millisecond

func (n *network) ok(from, to int) bool { return n.blocked[from*n.n+to] == 0 }

func (n *network) both(a, b int) bool { return n.ok(a, b) && n.ok(b, a) }

// delay is how long one packet is under way.
func (n *network) delay() time.Duration {
	d := 50*time.Microsecond + n.w.upTo(200*time.Microsecond)
	if n.slow > 0 {
		d += n.w.upTo(n.slow)
	}
	for try := retransmit; n.loss > 0 && n.w.chance(n.loss) && try < 2*time.Second; try *= 2 {
		d += try
	}
	return d
}

// extra is by how much a packet is later because of faults at the node that it goes to.
func (n *network) extra(to int) time.Duration {
	f := n.at[to]
	d := f.delay
	if f.jitter > 0 {
		d += n.w.upTo(f.jitter)
	}
	for try := retransmit; f.loss > 0 && n.w.chance(f.loss) && try < 2*time.Second; try *= 2 {
		d += try
	}
	return d
}

// block cuts (or with -1 restores) the way from every a to every b.
func (n *network) block(a, b []int, by int, oneWay bool) {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				continue
			}
			n.blocked[x*n.n+y] += by
			if !oneWay {
				n.blocked[y*n.n+x] += by
			}
		}
	}
	n.w.check.disturbed = n.w.now
	n.w.faults++
	if by < 0 {
		n.w.healed()
	}
}
