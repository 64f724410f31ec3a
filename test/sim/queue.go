package sim

import "time"

// event is something that happens at a moment of virtual time. Events of the same
// moment happen in the order in which they were planned.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// queue is a binary heap of events, the earliest first.
type queue struct {
	events []event
	seq    uint64
}

func (q *queue) less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || (a.at == b.at && a.seq < b.seq)
}

func (q *queue) push(at time.Duration, do func()) {
	q.seq++
	q.events = append(q.events, event{at, q.seq, do})
	for i := len(q.events) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			break
		}
		q.events[i], q.events[up] = q.events[up], q.events[i]
		i = up
	}
}

func (q *queue) pop() event {
	first := q.events[0]
	last := len(q.events) - 1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	for i := 0; ; {
		small := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if q.less(c, small) {
				small = c
			}
		}
		if small == i {
			return first
		}
		q.events[i], q.events[small] = q.events[small], q.events[i]
		i = small
	}
}
