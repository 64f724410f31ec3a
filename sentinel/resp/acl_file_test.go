package resp

import (
	"errors"
	"sync"
	"testing"
)

// userFile is a UserFile in memory.
type userFile struct {
	mu    sync.Mutex
	users []User
	err   error
}

func (f *userFile) Load() ([]User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users, f.err
}

func (f *userFile) Save(users []User) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.users = users
	}
	return f.err
}

func (f *userFile) put(err error, users ...User) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users, f.err = users, err
}

func TestUsersAreReadFromTheirFileAndWrittenToIt(t *testing.T) {
	bob := User{Name: "bob", Rules: []string{"on", ">pw", "+ping", "+acl|load"}}
	file := &userFile{users: []User{bob}}
	s, addr := startServer(t, oneMaster(6379), Options{Users: file.users, UserFile: file})
	c, b, other := dial(t, addr), dial(t, addr), dial(t, addr)
	equal(t, "+OK", b.do("AUTH bob pw"))
	equal(t, "+OK", other.do("AUTH bob pw"))

	equal(t, "+OK", c.do("ACL SETUSER al on nopass +ping"))
	equal(t, "+OK", c.do("ACL SAVE"))
	equal(t, 3, len(file.users), "with the default user")

	file.put(nil, bob, User{Name: "broken", Rules: []string{"on", "s3cret"}})
	equal(t, `-ERR user "broken": Syntax error. WARNING: ACL errors detected, no change to the previously active ACL rules was performed`, c.do("ACL LOAD"))
	equal(t, "+PONG", b.do("PING"), "nothing has changed")
	equal(t, 3, len(s.Users()))

	file.put(nil, bob, User{Name: "default", Rules: []string{"on", ">new", "+@all", "~*", "&*"}})
	equal(t, "+OK", b.do("ACL LOAD"), "the one that asks gets its answer")
	equal(t, "closed", b.next())
	equal(t, "closed", other.next())
	equal(t, "+PONG", c.do("PING"), "the default user's connections stay")
	equal(t, 2, len(s.Users()))
	equal(t, "-WRONGPASS invalid username-password pair or user is disabled.", dial(t, addr).do("AUTH default old"))
	equal(t, "+OK", dial(t, addr).do("AUTH new"))

	file.put(errors.New("disk full"))
	equal(t, "-ERR There was an error trying to save the ACLs: disk full", c.do("ACL SAVE"))
}
