package app

import (
	"fmt"
	"path/filepath"

	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/sentinel/resp"
)

// aclFile is the file that an `aclfile` line names, for resp.
type aclFile struct {
	path string
	// conf is the sentinel.conf that names it.
	conf *conf.File
}

func aclFileOf(f *conf.File) aclFile {
	path := f.ACLFile
	if !filepath.IsAbs(path) && f.Dir != "" {
		path = filepath.Join(f.Dir, path)
	}
	return aclFile{path, f}
}

// Load implements resp.UserFile.
func (a aclFile) Load() ([]resp.User, error) {
	users, err := conf.ReadUsers(a.path)
	if err != nil {
		return nil, err
	}
	if a.conf.Protected && conf.Open(a.conf.RequirePass, users) {
		return nil, fmt.Errorf("%s says protected-mode yes, and by %s everybody may log in without a password: set requirepass or give the user default a password, bind to 127.0.0.1, "+
			"or say protected-mode no", a.conf.Name, a.path)
	}
	return userLines(users), nil
}

// Save implements resp.UserFile.
func (a aclFile) Save(users []resp.User) error {
	out := make([]conf.User, 0, len(users))
	for _, u := range users {
		out = append(out, conf.User{Name: u.Name, Rules: u.Rules})
	}
	return conf.WriteUsers(a.path, out)
}

func userLines(users []conf.User) []resp.User {
	out := make([]resp.User, 0, len(users))
	for _, u := range users {
		out = append(out, resp.User{Name: u.Name, Rules: u.Rules})
	}
	return out
}
