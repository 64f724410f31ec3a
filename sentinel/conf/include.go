package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	includeKey = "include"
	// includeDepth bounds how deep files include each other.
	includeDepth = 16
)

// Included is a file that an include line stands for.
type Included struct {
	Name string
	Text string
}

// Opener returns what an include line stands for, in order.
type Opener func(pattern string) ([]Included, error)

// OpenIncluded is the Opener of the file system. As in Redis the path is relative to the working directory, and may be a pattern, which may
// match nothing.
func OpenIncluded(pattern string) ([]Included, error) {
	names := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		var err error
		if names, err = filepath.Glob(pattern); err != nil {
			return nil, fmt.Errorf("%q: %w", pattern, err)
		}
	}
	var out []Included
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if len(text) > MaxSize {
			return nil, fmt.Errorf("%s is larger than %d MiB", name, MaxSize>>20)
		}
		out = append(out, Included{name, string(text)})
	}
	return out, nil
}

// included puts the lines of included files in the places of the lines that include them.
func (p *parser) included(lines []line, depth int) []line {
	if !slices.ContainsFunc(lines, func(l line) bool { return l.key == includeKey }) {
		return lines
	}
	var out []line
	for _, l := range lines {
		switch {
		case l.key != includeKey:
			out = append(out, l)
		case len(l.args) != 1:
			p.fail(l, "the line must read: include PATH")
		case p.open == nil:
			p.fail(l, "nothing can be included here")
		case depth == includeDepth:
			p.fail(l, "files include each other more than %d deep", includeDepth)
		default:
			out = append(out, p.included(p.follow(l), depth+1)...)
		}
	}
	return out
}

// follow returns the lines of the files that an include line stands for.
func (p *parser) follow(at line) (out []line) {
	files, err := p.open(at.args[0])
	if err != nil {
		p.fail(at, "%s", err)
		return nil
	}
	for _, f := range files {
		if p.size += len(f.Text); p.size > MaxSize {
			p.fail(at, "the included files are larger than %d MiB", MaxSize>>20)
			return nil
		}
		for _, l := range p.scan(f.Name, f.Text) {
			if word, _, _ := strings.Cut(l.key, " "); word == "sentinel" || word == "triwatch" {
				p.fail(l, "such lines are rewritten, so they must stand in %s itself", p.file.Name)
				continue
			}
			out = append(out, l)
		}
	}
	return out
}

// in is the file that a line is of.
func (p *parser) in(l line) string {
	if l.file != "" {
		return l.file
	}
	return p.file.Name
}

// before orders messages: those about the file itself come first.
func (p *parser) before(fileA string, lineA int, fileB string, lineB int) bool {
	if own := fileA == p.file.Name; own != (fileB == p.file.Name) {
		return own
	}
	return fileA == fileB && lineA < lineB
}

// of names an included file.
func of(file string) string {
	if file == "" {
		return ""
	}
	return " of " + file
}
