package resp

import "errors"

// UserFile is where ACL LOAD and ACL SAVE find the users. Its methods may be called
// concurrently.
type UserFile interface {
	// Load reads the users; the error names the file and the line, and no secret.
	Load() ([]User, error)
	// Save replaces the file's content, all of it or nothing.
	Save(users []User) error
}

// aclLoad takes the users of the file in the place of the present ones: all, or none if
// one of them is wrong.
func (c *conn) aclLoad([][]byte) {
	s := c.srv
	if s.opts.UserFile == nil {
		c.w.Error(errACLFile)
		return
	}
	users, err := s.opts.UserFile.Load()
	if err == nil && len(users) > maxUsers {
		err = errors.New("too many users")
	}
	if err == nil {
		err = s.replaceUsers(c, users)
	}
	if err != nil {
		c.w.Error("ERR " + err.Error() + ". WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
		return
	}
	c.w.Simple("OK")
}

// replaceUsers ends the connections of all users but the default one, as Redis does: they
// may have lost what they had. The one that asked gets its answer first.
func (s *Server) replaceUsers(asked *conn, users []User) error {
	all, err := s.makeUsers(s.opts.Password, users)
	if err != nil {
		return err
	}
	s.aclMu.Lock()
	def := s.users[defaultUser] // connections have it
	def.rights.Store(all[defaultUser].rights.Load())
	all[defaultUser] = def
	s.users = all
	s.aclMu.Unlock()
	for _, o := range s.connections() {
		switch u := o.who.Load(); {
		case u == nil || u == def:
		case o == asked:
			o.quit = true
		default:
			o.kill()
		}
	}
	s.dropForbidden(def, def.rights.Load())
	return nil
}

func (c *conn) aclSave([][]byte) {
	if c.srv.opts.UserFile == nil {
		c.w.Error(errACLFile)
		return
	}
	if err := c.srv.opts.UserFile.Save(c.srv.Users()); err != nil {
		c.w.Error("ERR There was an error trying to save the ACLs: " + err.Error())
		return
	}
	c.w.Simple("OK")
}
