package sentinel

import (
	"strconv"
	"time"
)

// EventName is an event of Sentinel's vocabulary, or one of ours in the same
// form. Sentinel clients see it as the channel's name.
type EventName string

// The events. Those that Sentinel has keep its names and payloads; see
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/ (Pub/Sub messages).
const (
	EventMonitor       EventName = "+monitor"
	EventUnmonitor     EventName = "-monitor"
	EventSet           EventName = "+set"
	EventReset         EventName = "+reset-master"
	EventSlave         EventName = "+slave"
	EventRemovedSlave  EventName = "-slave"
	EventSdown         EventName = "+sdown"
	EventSdownEnd      EventName = "-sdown"
	EventOdown         EventName = "+odown"
	EventOdownEnd      EventName = "-odown"
	EventNewEpoch      EventName = "+new-epoch"
	EventTryFailover   EventName = "+try-failover"
	EventElected       EventName = "+elected-leader"
	EventSelected      EventName = "+selected-slave"
	EventSendNoOne     EventName = "+failover-state-send-slaveof-noone"
	EventPromoted      EventName = "+promoted-slave"
	EventReconfSlaves  EventName = "+failover-state-reconf-slaves"
	EventReconfSent    EventName = "+slave-reconf-sent"
	EventReconfDone    EventName = "+slave-reconf-done"
	EventFailoverEnd   EventName = "+failover-end"
	EventFailoverTimed EventName = "+failover-end-for-timeout"
	EventNoGoodSlave   EventName = "-failover-abort-no-good-slave"
	EventAborted       EventName = "-failover-abort"
	EventSwitchMaster  EventName = "+switch-master"
	EventConvert       EventName = "+convert-to-slave"
	EventFixSlave      EventName = "+fix-slave-config"
	EventReboot        EventName = "+reboot"
	EventRoleChange    EventName = "+role-change"
	EventHeld          EventName = "+held"
	EventHeldEnd       EventName = "-held"
	EventWould         EventName = "+would"
	EventState         EventName = "+instance-state"
	EventRights        EventName = "+instance-rights"
	EventRefused       EventName = "+refused"
	EventEvidence      EventName = "+evidence"
	EventFenced        EventName = "+fenced"
	EventFaulted       EventName = "+action-failed"
	EventChosen        EventName = "+chosen"
	EventAdopted       EventName = "+adopted"
	EventWaiting       EventName = "+waiting"
	EventReleased      EventName = "+released"
	EventResumed       EventName = "+resumed"
	EventPaused        EventName = "+paused"
	EventContested     EventName = "+contested"
	EventContestedEnd  EventName = "-contested"
	EventFence         EventName = "+fence"
)

// Event is something that happened, for people and for Sentinel clients.
type Event struct {
	Name   EventName
	Master string
	// Payload is the text that Sentinel clients get, exact for Sentinel's own events.
	Payload string
	// Instance is whom it is about, "" for the master as a whole.
	Instance InstanceID
	Epoch    Epoch
	// Reason is the sentence for people.
	Reason string
	// From and To are what clients were told before and are told now (EventSwitchMaster).
	From, To Addr
	// Code is a machine's word for the reason where there are several, "" otherwise.
	Code string
	// Entry is when the log entry that it follows from was proposed, by the wall clock of
	// the leader of that time; zero if it follows from none. Old entries are read again at
	// every start, and what follows from them is no news.
	Entry time.Time
	// Leading is set when the watcher that says it leads.
	Leading bool
	// Move is the plan that was open when it happened, nil if none was.
	Move *Move
}

// Codes of EventHeld.
const (
	// CodeAdvances means that a replica still hears the master.
	CodeAdvances = "replica_advances"
	// CodeVetoed means that a hook has vetoed the failover.
	CodeVetoed = "vetoed"
)

// Move is what an event tells of a plan.
type Move struct {
	Kind     Kind
	From, To Assignment
	Why      string
	// Lost is the estimated loss in bytes, -1 if there is nothing to estimate from.
	Lost   int64
	Fenced bool
}

func moveOf(p *Plan) *Move {
	if p == nil {
		return nil
	}
	return &Move{Kind: p.Kind, From: p.Old, To: p.New, Why: p.Why, Lost: p.Lost, Fenced: p.Fenced}
}

// switchPayload is +switch-master's: name, old address, new address.
func switchPayload(name string, from, to Addr) string {
	return name + " " + spaced(from) + " " + spaced(to)
}

// masterPayload is how Sentinel describes a master in events.
func masterPayload(name string, a Addr) string {
	return "master " + name + " " + spaced(a)
}

// instancePayload is how Sentinel describes a replica of a master in events.
func instancePayload(name string, master, replica Addr) string {
	return "slave " + replica.String() + " " + spaced(replica) + " @ " + name + " " + spaced(master)
}

func spaced(a Addr) string { return a.Host + " " + strconv.Itoa(a.Port) }

// payloadTail is what follows the instance in an event's payload. Sentinel's own
// events keep Sentinel's text; ours carry the sentence for people.
func payloadTail(name EventName, reason string) string {
	switch name {
	case EventOdown:
		return " " + reason
	case EventHeld, EventHeldEnd, EventWould, EventState, EventRights, EventRefused, EventEvidence, EventFenced, EventFaulted, EventAborted, EventChosen, EventWaiting,
		EventContested, EventFence:
		return " # " + reason
	default:
		return ""
	}
}
