package conf

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestUsersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.acl")
	if _, err := ReadUsers(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "make the file") {
		t.Errorf("a file that is missing: %v", err)
	}
	users := []User{{Name: "default", Rules: []string{"on", "nopass", "+@all"}, Line: 1}, {Name: "bob", Rules: []string{"on", "#abc"}, Line: 2}}
	if err := WriteUsers(path, users); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if got, err := ReadUsers(path); err != nil || !reflect.DeepEqual(got, users) {
		t.Errorf("read %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"user a on\n\n  \nuser a off\n": `:4: the user "a" is there already in line 1`,
		"user a on\nusr b >s3cret\n":    `:2: the line must begin with "user" and a name`,
		"user\n":                        `:1: the line must begin`,
		strings.Repeat("x", 1<<20+1):    "larger than",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadUsers(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		pass, rules string
		open        bool
	}{{"", "", true}, {"p", "", false}, {"p", "on nopass +@all", true}, {"", "on NOPASS", true}, {"", "on >p", false}, {"", "off", false}} {
		var users []User
		if c.rules != "" {
			users = []User{{Name: "bob", Rules: []string{"nopass"}}, {Name: "default", Rules: strings.Fields(c.rules)}}
		}
		if got := Open(c.pass, users); got != c.open {
			t.Errorf("%+v: open %v", c, got)
		}
	}
}
