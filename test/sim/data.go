package sim

import "fmt"

// entry is one piece of a replication stream: a write, or a ping if write is -1.
type entry struct {
	end   int64 // offset after it
	write int32
	// writes and last describe the whole data set up to and including this entry:
	// how many writes it has, and the latest.
	writes, last int32
}

// branch is a run of entries that one master appended. A promotion or a restart
// begins a new branch where the old one stood. All copies of a data set are
// positions on this tree, so that "has it everything that the other has" is a
// question about ancestors and not about sets.
type branch struct {
	id        int
	parent    *branch
	parentPos int
	start     int64  // offset before the first entry
	owner     string // replication id of the master that appends
	entries   []entry
}

// dataset is what an instance holds: everything on the way from the root to pos.
type dataset struct {
	b   *branch
	pos int
}

func (d dataset) tail() (entry, bool) {
	for b, pos := d.b, d.pos; b != nil; b, pos = b.parent, b.parentPos {
		if pos > 0 {
			return b.entries[pos-1], true
		}
	}
	return entry{last: -1}, false
}

func (d dataset) offset() int64 {
	if d.pos > 0 {
		return d.b.entries[d.pos-1].end
	}
	return d.b.start
}

func (d dataset) keys() int64 {
	e, _ := d.tail()
	return int64(e.writes)
}

// add appends an entry; d has to stand at the end of its branch.
func (d *dataset) add(size int64, write int32) {
	if d.pos != len(d.b.entries) {
		panic("append in the middle of a branch")
	}
	t, _ := d.tail()
	e := entry{end: d.offset() + size, write: write, writes: t.writes, last: t.last}
	if write >= 0 {
		e.writes, e.last = t.writes+1, write
	}
	d.b.entries = append(d.b.entries, e)
	d.pos++
}

// common is how many writes two data sets share: those before their ways part.
func common(a, b dataset) int64 {
	for x, pos := a.b, a.pos; x != nil; x, pos = x.parent, x.parentPos {
		for y, other := b.b, b.pos; y != nil; y, other = y.parent, y.parentPos {
			if x == y {
				return dataset{x, min(pos, other)}.keys()
			}
		}
	}
	return 0
}

// includes reports whether a has every write of b.
func (d dataset) includes(b dataset) bool { return common(d, b) == b.keys() }

// path lists the branches from one to a descendant, both included; nil if it is
// not one.
func path(from, to *branch) []*branch {
	var back []*branch
	for b := to; b != nil; b = b.parent {
		back = append(back, b)
		if b == from {
			out := make([]*branch, len(back))
			for i, x := range back {
				out[len(back)-1-i] = x
			}
			return out
		}
	}
	return nil
}

func (d dataset) String() string {
	if d.b == nil {
		return "nothing"
	}
	return fmt.Sprintf("b%d:%d(%d keys)", d.b.id, d.offset(), d.keys())
}
