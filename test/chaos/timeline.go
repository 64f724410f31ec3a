package chaos

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// timeline collects what everybody says, stamped with one clock when it arrives: the
// stamps of a watcher whose clock jumps are no use.
type timeline struct {
	start time.Time

	mu    sync.Mutex
	lines []said
}

type said struct {
	at   time.Time
	who  string
	text string
}

func newTimeline() *timeline { return &timeline{start: time.Now()} }

func (t *timeline) add(who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, said{time.Now(), who, fmt.Sprintf(format, args...)})
}

// from returns a writer that splits what a process prints into lines.
func (t *timeline) from(who string) *lineWriter { return &lineWriter{t: t, who: who} }

type lineWriter struct {
	t    *timeline
	who  string
	rest []byte // used by the one goroutine that copies a process' output
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.t.add(w.who, "%s", w.rest[:i])
		w.rest = w.rest[i+1:]
	}
}

// grep returns the lines of one speaker that contain a text.
func (t *timeline) grep(who, text string) []said {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []said
	for _, l := range t.lines {
		if strings.HasPrefix(l.who, who) && strings.Contains(l.text, text) {
			out = append(out, l)
		}
	}
	return out
}

// text is some lines in the order of time.
func (t *timeline) text(lines []said) string {
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b said) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%9.3f %-7s %s\n", l.at.Sub(t.start).Seconds(), l.who, l.text)
	}
	return b.String()
}

// write writes everything into a file.
func (t *timeline) write(file string) error {
	t.mu.Lock()
	lines := t.lines
	t.mu.Unlock()
	if err := os.WriteFile(file, []byte(t.text(lines)), 0o644); err != nil {
		return fmt.Errorf("write the timeline: %w", err)
	}
	return nil
}
