package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIncludedLinesStandInThePlaceOfTheLine(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("a.acl", "user default on >secret +@all\n")
	put("b.acl", "# nobody\nuser bob on nopass +ping\nport 7\n")
	main := put("sentinel.conf", "port 1\ninclude "+dir+"/*.acl\ninclude "+dir+"/none*\nsentinel monitor m 127.0.0.1 6379 2\n")
	f, err := ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	if f.Port != 7 || len(f.Users) != 2 || f.Users[1].Name != "bob" || !f.UsersIncluded || len(f.Masters) != 1 {
		t.Errorf("%+v", f)
	}
	text, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Rewrite(f.State())); !strings.HasPrefix(got, string(text)) || strings.Contains(got, "user") || strings.Count(got, "port") != 1 {
		t.Errorf("rewritten, what was included is part of it:\n%s", got)
	}

	for included, want := range map[string]string{
		"sentinel monitor n 127.0.0.1 1 1\n":     dir + `/x:1: "sentinel monitor n 127.0.0.1 1 1": such lines are rewritten, so they must stand in ` + main + ` itself`,
		"\nuser bob on\nuser bob off\n":          dir + `/x:3: "user ...": the user is there already in line 2 of ` + dir + `/x`,
		"include " + dir + "/x\n":                "more than 16 deep",
		strings.Repeat("include "+dir+"/x\n", 2): "",
		"include " + dir + "/missing":            "no such file",
		"include":                                "the line must read: include PATH",
	} {
		put("x", included)
		put("sentinel.conf", "include "+dir+"/x\nwrong line\n")
		_, err := ReadFile(main)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), main+":2: ") && !strings.HasPrefix(err.Error(), main+":1: ") {
			t.Errorf("%q: %.300v, want %q", included, err, want)
		}
	}
}

func TestIncludedFilesAreBoundedAndNotReadByParse(t *testing.T) {
	for _, c := range []struct {
		open Opener
		want string
	}{
		{nil, "nothing can be included here"},
		{func(string) ([]Included, error) { return nil, errors.New("no such thing") }, "no such thing"},
		{func(string) ([]Included, error) { return []Included{{"big", strings.Repeat("#\n", MaxSize/2+1)}}, nil }, "larger than 8 MiB"},
		{func(name string) ([]Included, error) {
			return []Included{{name, fmt.Sprintf("include %s\n%s", name, strings.Repeat("#", 1<<20))}}, nil
		}, "larger than 8 MiB"},
	} {
		_, err := ParseWith("sentinel.conf", strings.NewReader("include a\n"), c.open)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200v, want %q", err, c.want)
		}
	}
}
