package conf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// maxUsersFile bounds what is read of an ACL file.
const maxUsersFile = 1 << 20

// ReadUsers reads an ACL file as Redis has them: a line "user NAME RULE..." for each user, nothing else. Errors name the line, and no
// rule, which may be a password.
func ReadUsers(path string) ([]User, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("read users: %w; make the file (it may be empty), or take the aclfile line out", err)
	case err != nil:
		return nil, fmt.Errorf("read users: %w", err)
	case len(b) > maxUsersFile:
		return nil, fmt.Errorf("read users: %s is larger than %d bytes", path, maxUsersFile)
	}
	var out []User
	n := 0
	for text := range strings.Lines(string(b)) {
		n++
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if words[0] != "user" || len(words) < 2 {
			return nil, fmt.Errorf("%s:%d: the line must begin with \"user\" and a name", path, n)
		}
		if i := slices.IndexFunc(out, func(u User) bool { return u.Name == words[1] }); i >= 0 {
			return nil, fmt.Errorf("%s:%d: the user %q is there already in line %d", path, n, words[1], out[i].Line)
		}
		out = append(out, User{Name: words[1], Rules: words[2:], Line: n})
	}
	return out, nil
}

// WriteUsers replaces an ACL file, see WriteAtomic.
func WriteUsers(path string, users []User) error {
	var b strings.Builder
	for _, u := range users {
		b.WriteString(strings.Join(append([]string{"user", u.Name}, u.Rules...), " ") + "\n")
	}
	return WriteAtomic(path, []byte(b.String()))
}

// Open reports whether whoever connects may do everything that the default user may, without a password.
func Open(requirePass string, users []User) bool {
	for _, u := range users {
		if u.Name == "default" { // its line counts instead of requirepass, as in Redis
			return slices.ContainsFunc(u.Rules, func(r string) bool { return strings.EqualFold(r, "nopass") })
		}
	}
	return requirePass == ""
}
