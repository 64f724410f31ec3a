package election

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of what is read from a connection. Nothing is allocated for a frame
// before its length was found to be within them.
const (
	maxHandshakeFrame = 64 << 10
	maxMessageFrame   = 8 << 20
)

// The first bytes on every connection: a magic that no other protocol of the
// neighbourhood starts with, and the version of the handshake.
const (
	protocolMagic   = "TRIWATCH"
	protocolVersion = 1
)

var (
	errBadMagic     = errors.New("not a triwatch peer connection")
	errFrameTooLong = errors.New("frame is too long")
)

// readFrame reads one length-prefixed frame. It never reads past the frame, so
// that the connection can be handed on to another reader.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if uint64(size) > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", errFrameTooLong, size, limit)
	}
	// Growing with what arrives keeps a liar who announces 8 MiB and sends
	// nothing from costing us 8 MiB.
	var buf bytes.Buffer
	if n, err := io.CopyN(&buf, r, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read frame, %d of %d bytes: %w", n, size, err)
	}
	return buf.Bytes(), nil
}

// appendFrame appends the frame of a body to dst.
func appendFrame(dst, body []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

func writeJSON(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(body) > maxHandshakeFrame {
		return errFrameTooLong
	}
	_, err = w.Write(appendFrame(nil, body))
	return err
}

func readJSON(r io.Reader, v any) error {
	body, err := readFrame(r, maxHandshakeFrame)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

// purpose is what a connection is for.
type purpose uint8

const (
	purposeUnknown purpose = iota
	purposeRaft            // Raft's own RPCs, handed to the Raft transport
	purposeMessage         // payloads of Send and Broadcast, one direction
	purposeQuery           // one question and its answer; also between strangers
)

func (p purpose) String() string {
	switch p {
	case purposeUnknown:
		return "unknown"
	case purposeRaft:
		return "raft"
	case purposeMessage:
		return "message"
	case purposeQuery:
		return "query"
	default:
		return fmt.Sprintf("purpose %d", uint8(p))
	}
}

// hello is the dialer's first frame.
type hello struct {
	Purpose    purpose `json:"purpose"`
	Cluster    string  `json:"cluster,omitempty"`
	Generation uint32  `json:"generation"`
	From       ID      `json:"from"`
	Addr       string  `json:"addr"`
	// Target is the ID the dialer means to reach. Only a query may leave it
	// empty. Without it a fresh watcher on a reused address would answer, and
	// vote, for a dead one.
	Target ID     `json:"target,omitempty"`
	Nonce  []byte `json:"nonce"`
}

// encodeHello returns the opening bytes of a connection, and the part of them
// that the proofs cover.
func encodeHello(h hello) (wire, body []byte, err error) {
	body, err = json.Marshal(h)
	if err != nil {
		return nil, nil, fmt.Errorf("encode hello: %w", err)
	}
	wire = append([]byte(protocolMagic), protocolVersion)
	return appendFrame(wire, body), body, nil
}

// errVersion is a peer that speaks another version of the handshake.
type errVersion uint8

func (v errVersion) Error() string {
	return fmt.Sprintf("peer speaks version %d of the peer protocol, this watcher version %d", uint8(v), protocolVersion)
}

// readHello reads and checks the opening of a connection.
func readHello(r io.Reader) (h hello, body []byte, err error) {
	var head [len(protocolMagic) + 1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return hello{}, nil, err
	}
	if string(head[:len(protocolMagic)]) != protocolMagic {
		return hello{}, nil, errBadMagic
	}
	if v := head[len(protocolMagic)]; v != protocolVersion {
		return hello{}, nil, errVersion(v)
	}
	body, err = readFrame(r, maxHandshakeFrame)
	if err != nil {
		return hello{}, nil, err
	}
	if err := json.Unmarshal(body, &h); err != nil {
		return hello{}, nil, fmt.Errorf("decode hello: %w", err)
	}
	return h, body, h.check()
}

func (h hello) check() error {
	switch h.Purpose {
	case purposeRaft, purposeMessage:
		if h.Target == "" || h.Cluster == "" {
			return fmt.Errorf("%s connection names no target or no cluster", h.Purpose)
		}
	case purposeQuery:
	case purposeUnknown:
		return errors.New("connection names no purpose")
	default:
		return fmt.Errorf("connection has an unknown purpose %d", uint8(h.Purpose))
	}
	if !validID(h.From) || (h.Target != "" && !validID(h.Target)) {
		return errors.New("connection names a malformed ID")
	}
	if len(h.Addr) > 512 || len(h.Cluster) > 128 {
		return errors.New("connection names an overlong address or cluster")
	}
	if err := checkHostPort("address of the dialer", h.Addr); err != nil {
		return err
	}
	if len(h.Nonce) != nonceSize {
		return fmt.Errorf("nonce has %d bytes, must have %d", len(h.Nonce), nonceSize)
	}
	return nil
}

// refusal is why a listener closed a connection. Zero is "it did not".
type refusal uint8

const (
	refusedNot        refusal = iota
	refusedVersion            // another version of the handshake
	refusedMalformed          // not understood
	refusedSecret             // wrong or missing peer secret
	refusedCluster            // the listener belongs to another cluster, or to none
	refusedTarget             // the listener has another ID than the dialer means
	refusedSuperseded         // the dialer is of a lower generation
	refusedOutdated           // the listener is of a lower generation
	refusedNotReady           // Raft does not run there yet
	refusedStranger           // the dialer is no member of the cluster
	refusedBusy               // too many connections
)

func (r refusal) String() string {
	switch r {
	case refusedNot:
		return "accepted"
	case refusedVersion:
		return "other protocol version"
	case refusedMalformed:
		return "malformed handshake"
	case refusedSecret:
		return "peer secret differs"
	case refusedCluster:
		return "other cluster"
	case refusedTarget:
		return "other watcher at this address"
	case refusedSuperseded:
		return "dialer is of a lower generation"
	case refusedOutdated:
		return "listener is of a lower generation"
	case refusedNotReady:
		return "not ready yet"
	case refusedStranger:
		return "dialer is not a member"
	case refusedBusy:
		return "too many connections"
	default:
		return fmt.Sprintf("refusal %d", uint8(r))
	}
}

// reply is each frame of the listener in the handshake. The first carries the
// challenge or a refusal, the second the verdict.
type reply struct {
	Code   refusal `json:"code"`
	Reason string  `json:"reason,omitempty"`
	// Challenge.
	Nonce []byte `json:"nonce,omitempty"`
	MAC   []byte `json:"mac,omitempty"`
	// Verdict: who answers. Sent after the dialer's proof only.
	ID         ID     `json:"id,omitempty"`
	Addr       string `json:"addr,omitempty"`
	Cluster    string `json:"cluster,omitempty"`
	Generation uint32 `json:"generation,omitempty"`
}

// proof is the dialer's second frame.
type proof struct {
	MAC []byte `json:"mac,omitempty"`
	// Code tells the listener why the dialer gives up.
	Code refusal `json:"code,omitempty"`
}

func validID(id ID) bool {
	if len(id) != idLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
