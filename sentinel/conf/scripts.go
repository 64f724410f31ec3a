package conf

import (
	"errors"
	"path/filepath"
)

// script is a path that must be there and executable when a watcher starts.
type script struct {
	line       line
	text, path string
	what       string // Sentinel's word for it
}

// script remembers a script's path for CheckScripts.
func (p *parser) script(_ *Master, l line, what string) {
	p.file.scripts = append(p.file.scripts, script{line: l, text: p.redact(l), path: l.args[1], what: what})
}

// ScriptPath is where a script of the file is: Sentinel works in the directory of the dir line.
func (f *File) ScriptPath(path string) string {
	if path == "" || filepath.IsAbs(path) || f.Dir == "" {
		return path
	}
	return filepath.Join(f.Dir, path)
}

// CheckScripts returns every notification and client reconfiguration script that does not exist or may not be run by this
// process, each as an *Error with Sentinel's words, joined; nil if all are fine. Unlike Parse it looks at the file system.
func (f *File) CheckScripts() error {
	var errs []error
	for _, s := range f.scripts {
		if !Executable(f.ScriptPath(s.path)) {
			errs = append(errs, &Error{File: f.Name, Line: s.line.n, Text: s.text, Problem: s.what + " seems non existing or non executable."})
		}
	}
	return errors.Join(errs...)
}
