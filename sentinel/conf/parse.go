package conf

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// MaxSize is the largest file that Parse reads, in bytes: room for some ten thousand masters.
const MaxSize = 8 << 20

// Error is one wrong line. Its message is one sentence that names file, line, the line's text without secrets, and what would be
// right. Parse joins several with errors.Join, in the order of the lines.
type Error struct {
	File string
	Line int
	// Text is the line as far as it can be shown: secrets, and whatever follows an unknown directive, are left out.
	Text    string
	Problem string
}

func (e *Error) Error() string { return position(e.File, e.Line, e.Text) + ": " + e.Problem }

func position(file string, n int, text string) string { return fmt.Sprintf("%s:%d: %q", file, n, text) }

// line is one line of the file; key and args are empty for comments and blank lines.
type line struct {
	file string // the included file, "" for the one itself
	n    int
	raw  string
	key  string // lower case: "port", or "sentinel monitor"
	args []string
}

// Parse reads a whole sentinel.conf that includes nothing. name is used in messages only. All wrong lines are reported at once, each as an *Error.
func Parse(name string, r io.Reader) (*File, error) { return ParseWith(name, r, nil) }

// ParseWith is Parse where include lines are followed: open returns the content of the files that one stands for.
func ParseWith(name string, r io.Reader, open Opener) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("read %s: the file is larger than %d MiB, which no sentinel.conf is", name, MaxSize>>20)
	}
	p := &parser{
		table:  directives(),
		file:   &File{Name: name, Port: DefaultPort, DenyScriptsReconfig: true},
		master: map[string]int{},
		open:   open,
	}
	p.file.lines = p.scan("", string(data))
	p.run(p.included(p.file.lines, 0))
	if len(p.errs) > 0 {
		sort.SliceStable(p.errs, func(i, j int) bool { return p.before(p.errs[i].File, p.errs[i].Line, p.errs[j].File, p.errs[j].Line) })
		return nil, joined(name, p.errs)
	}
	sort.SliceStable(p.file.Warnings, func(i, j int) bool {
		a, b := p.file.Warnings[i], p.file.Warnings[j]
		return p.before(a.File, a.Line, b.File, b.Line)
	})
	return p.file, nil
}

// joined keeps the report readable when the file is something else altogether.
func joined(name string, wrong []*Error) error {
	const most = 20
	var all []error
	for i, e := range wrong {
		if i == most {
			all = append(all, fmt.Errorf("%s: %d more wrong lines, is this a sentinel.conf", name, len(wrong)-most))
			break
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

type parser struct {
	table  map[string]directive
	file   *File
	master map[string]int // name -> index in file.Masters
	errs   []*Error
	open   Opener
	size   int // of all included files

	aclFile       line  // the last `aclfile`
	protectedMode *line // the last `protected-mode yes`
	tlsNeeded     *line // the last line that needs certificates
	noPort        line  // the last `port 0` or `tls-port 0`
}

func (p *parser) fail(l line, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.in(l), Line: l.n, Text: p.redact(l), Problem: fmt.Sprintf(format, args...)})
}

func (p *parser) warn(l line, note string) {
	p.file.Warnings = append(p.file.Warnings, Warning{File: p.in(l), Line: l.n, Text: p.redact(l), Note: note})
}

// ownMark begins a line for triwatch alone. To redis-sentinel it is a comment, so that
// it still starts with the file, and keeps the line when it rewrites it.
const ownMark = "# triwatch:"

// scan cuts the text into lines and words. file is the included one, or "".
func (p *parser) scan(file, text string) (out []line) {
	if text == "" {
		return nil
	}
	for i, raw := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		l := line{file: file, n: i + 1, raw: raw}
		trimmed := strings.Trim(raw, " \t\r\n")
		if own, ok := strings.CutPrefix(trimmed, ownMark); ok {
			trimmed = strings.TrimSuffix(ownMark[2:], ":") + " " + own
		}
		if trimmed != "" && trimmed[0] != '#' {
			words, err := splitArgs(trimmed)
			if err != nil {
				p.fail(l, "%s", err)
			} else if len(words) > 0 {
				l.key, l.args = strings.ToLower(words[0]), words[1:]
				if (l.key == "sentinel" || l.key == "triwatch") && len(l.args) > 0 {
					l.key, l.args = l.key+" "+strings.ToLower(l.args[0]), l.args[1:]
				}
			}
		}
		out = append(out, l)
	}
	return out
}

// run applies the lines in Sentinel's order: what stands for itself, then the monitor lines, then what names a master.
func (p *parser) run(lines []line) {
	var monitors, named []line
	for _, l := range lines {
		if l.key == "" {
			continue
		}
		d, ok := p.table[l.key]
		switch {
		case !ok:
			p.unknown(l)
		case !d.fits(len(l.args)):
			p.fail(l, "the line must read: %s", d.usage)
		case d.named != nil:
			named = append(named, l)
		case l.key == "sentinel monitor":
			monitors = append(monitors, l)
		default:
			d.apply(p, l)
		}
	}
	for _, l := range monitors {
		p.monitor(l)
	}
	for _, l := range named {
		if i, ok := p.master[l.args[0]]; ok {
			p.table[l.key].named(p, &p.file.Masters[i], l)
		} else {
			p.noSuchMaster(l)
		}
	}
	p.checkAccess()
	p.checkTLS()
}

func (p *parser) noSuchMaster(l line) {
	who := "the line names a master"
	if !hasSecret(l.key) {
		who = fmt.Sprintf("no such master: %q", l.args[0])
	}
	if len(p.file.Masters) == 0 {
		p.fail(l, "%s, but no correct \"sentinel monitor NAME HOST PORT QUORUM\" line names one", who)
		return
	}
	names := make([]string, 0, len(p.file.Masters))
	for _, m := range p.file.Masters {
		names = append(names, m.Name)
	}
	p.fail(l, "%s, but the \"sentinel monitor\" lines name only: %s", who, strings.Join(names, ", "))
}

func (p *parser) unknown(l line) {
	switch {
	case l.key == "sentinel":
		p.fail(l, "the word after \"sentinel\" is missing, for example: sentinel monitor NAME HOST PORT QUORUM")
	case l.key == "rename-command":
		p.fail(l, "renaming the watcher's own commands is not supported, and the setting is not ignored because it may limit access; take the line out if that is acceptable")
	default:
		p.fail(l, "unknown directive, neither Sentinel's nor one of triwatch's; correct its name or take the line out")
	}
}
