package sentinel

import "strings"

// Reply is what one probe of an instance came to. Zero is unknown and proves
// nothing. It is the one table in which every answer of Redis, and every
// failure to answer, has its meaning.
type Reply int

// The outcomes of a probe.
const (
	ReplyUnknown Reply = iota
	// ReplyOK is any ordinary answer.
	ReplyOK
	// ReplyLoading means alive, reading its data set, not ready.
	ReplyLoading
	// ReplyAuth means alive, but our credentials are refused (NOAUTH, WRONGPASS,
	// NOPERM). It is a state and an alert of its own, never sdown.
	ReplyAuth
	// ReplyMaxClients means alive, but every connection slot is taken.
	ReplyMaxClients
	// ReplyBusy means alive, but inside a script that does not end.
	ReplyBusy
	// ReplyMisconf means alive, but refusing writes because it cannot persist.
	ReplyMisconf
	// ReplyError is any other error reply. Who can complain is alive.
	ReplyError
	// ReplyAccepted means that the connection was accepted and then closed
	// without an answer: a process listens there.
	ReplyAccepted
	// ReplyRefused means that the host answered that nobody listens.
	ReplyRefused
	// ReplyUnreachable means that no route or no host answered (EHOSTUNREACH,
	// ENETUNREACH).
	ReplyUnreachable
	// ReplyUnresolved means that the name has no address at the moment.
	ReplyUnresolved
	// ReplyTimeout means that nothing came back in time. It proves nothing by itself.
	ReplyTimeout
)

var replyNames = map[Reply]string{
	ReplyUnknown: "unknown", ReplyOK: "ok", ReplyLoading: "loading", ReplyAuth: "auth refused",
	ReplyMaxClients: "max clients reached", ReplyBusy: "busy in a script", ReplyMisconf: "cannot persist",
	ReplyError: "error reply", ReplyAccepted: "accepted and closed", ReplyRefused: "refused",
	ReplyUnreachable: "unreachable", ReplyUnresolved: "name not resolved", ReplyTimeout: "time-out",
}

// String returns the words that people read.
func (r Reply) String() string { return replyNames[r] }

// Alive reports whether the probe proves that a process answers there.
func (r Reply) Alive() bool {
	switch r {
	case ReplyOK, ReplyLoading, ReplyAuth, ReplyMaxClients, ReplyBusy, ReplyMisconf, ReplyError, ReplyAccepted:
		return true
	case ReplyUnknown, ReplyRefused, ReplyUnreachable, ReplyUnresolved, ReplyTimeout:
		return false
	}
	return false
}

// Usable reports whether an instance that answers so could serve as a master.
func (r Reply) Usable() bool { return r == ReplyOK || r == ReplyMisconf }

// ClassifyError tells what an error reply of Redis means. text is the reply
// without the leading minus sign.
func ClassifyError(text string) Reply {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "LOADING":
		return ReplyLoading
	case "NOAUTH", "WRONGPASS", "NOPERM":
		return ReplyAuth
	case "BUSY":
		return ReplyBusy
	case "MISCONF":
		return ReplyMisconf
	}
	switch {
	case strings.Contains(text, "max number of clients"):
		return ReplyMaxClients
	case strings.Contains(text, "invalid password"), strings.Contains(text, "without any password configured"):
		return ReplyAuth
	}
	return ReplyError
}
