package resp

import "strings"

// tracking is what CLIENT TRACKING was told. A watcher has no keys, so it has no
// effect; it is kept because clients check it.
type tracking struct {
	on, bcast, optIn, optOut, noLoop bool
	redirect                         int64
	caching                          string // "", "yes" or "no"
	prefixes                         []string
}

const maxPrefixes = 64

// trackingOptions reads the words after ON or OFF.
func (c *conn) trackingOptions(words [][]byte) (t tracking, wrong string) {
	for len(words) > 0 {
		switch w := words[0]; {
		case is(w, "bcast"):
			t.bcast = true
		case is(w, "optin"):
			t.optIn = true
		case is(w, "optout"):
			t.optOut = true
		case is(w, "noloop"):
			t.noLoop = true
		case is(w, "prefix") && len(words) > 1:
			words = words[1:]
			if len(t.prefixes) == maxPrefixes {
				return t, "ERR too many prefixes"
			}
			t.prefixes = append(t.prefixes, string(words[0]))
		case is(w, "redirect") && len(words) > 1:
			words = words[1:]
			if t.redirect != 0 {
				return t, "ERR A client can only redirect to a single other client"
			}
			id, ok := parseInt(words[0])
			if !ok {
				return t, errInteger
			}
			if !c.srv.connected(id) {
				return t, "ERR The client ID you want redirect to does not exist"
			}
			t.redirect = id
		default:
			return t, errSyntax
		}
		words = words[1:]
	}
	return t, ""
}

// connected says whether there is a client of that id.
func (s *Server) connected(id int64) bool {
	for _, o := range s.connections() {
		if o.id == id {
			return true
		}
	}
	return false
}

func (c *conn) clientTracking(args [][]byte) {
	t, wrong := c.trackingOptions(args[3:])
	if wrong != "" {
		c.w.Error(wrong)
		return
	}
	switch {
	case is(args[2], "off"):
		c.track = tracking{}
	case !is(args[2], "on"):
		wrong = errSyntax
	case !t.bcast && len(t.prefixes) > 0:
		wrong = "ERR PREFIX option requires BCAST mode to be enabled"
	case c.track.on && c.track.bcast != t.bcast:
		wrong = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
	case t.bcast && (t.optIn || t.optOut):
		wrong = "ERR OPTIN and OPTOUT are not compatible with BCAST"
	case t.optIn && t.optOut:
		wrong = "ERR You can't specify both OPTIN mode and OPTOUT mode"
	case t.optIn && c.track.optOut || t.optOut && c.track.optIn:
		wrong = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
	default:
		t.on = true
		if t.bcast && len(t.prefixes) == 0 {
			t.prefixes = []string{""}
		}
		c.track = t
	}
	if wrong != "" {
		c.w.Error(wrong)
		return
	}
	c.w.Simple("OK")
}

func (c *conn) clientCaching(args [][]byte) {
	if !c.track.on {
		c.w.Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
		return
	}
	switch word := strings.ToLower(string(args[2])); {
	case word != "yes" && word != "no":
		c.w.Error(errSyntax)
	case word == "yes" && !c.track.optIn:
		c.w.Error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	case word == "no" && !c.track.optOut:
		c.w.Error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	default:
		c.track.caching = word
		c.w.Simple("OK")
	}
}

func (c *conn) clientGetRedir([][]byte) {
	if c.track.on {
		c.w.Int(c.track.redirect)
		return
	}
	c.w.Int(-1)
}

func (c *conn) clientTrackingInfo([][]byte) {
	t := &c.track
	flags := []string{"off"}
	if t.on {
		flags[0] = "on"
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{t.bcast, "bcast"}, {t.optIn, "optin"}, {t.caching == "yes", "caching-yes"}, {t.optOut, "optout"}, {t.caching == "no", "caching-no"}, {t.noLoop, "noloop"}} {
		if f.on {
			flags = append(flags, f.name)
		}
	}
	c.w.Map(3)
	c.w.Bulk("flags")
	c.w.Set(len(flags))
	for _, f := range flags {
		c.w.Bulk(f)
	}
	c.w.Bulk("redirect")
	c.clientGetRedir(nil)
	c.w.Bulk("prefixes")
	c.bulks(t.prefixes)
}
