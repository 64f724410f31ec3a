package notify

import "github.com/triwatch/triwatch/sentinel"

// notifies reports whether an event is given to notification scripts: those that Redis
// Sentinel logs as warnings, and those of ours of the same weight.
func notifies(name sentinel.EventName) bool {
	switch name {
	case sentinel.EventMonitor, sentinel.EventUnmonitor, sentinel.EventSdown, sentinel.EventSdownEnd, sentinel.EventOdown, sentinel.EventOdownEnd,
		sentinel.EventNewEpoch, sentinel.EventTryFailover, sentinel.EventElected, sentinel.EventSelected, sentinel.EventPromoted,
		sentinel.EventReconfSlaves, sentinel.EventFailoverEnd, sentinel.EventFailoverTimed, sentinel.EventNoGoodSlave, sentinel.EventAborted,
		sentinel.EventSwitchMaster:
		return true
	case sentinel.EventHeld, sentinel.EventHeldEnd, sentinel.EventRefused, sentinel.EventContested, sentinel.EventContestedEnd, sentinel.EventWaiting,
		sentinel.EventFenced, sentinel.EventFaulted, sentinel.EventState, sentinel.EventReleased, sentinel.EventPaused, sentinel.EventResumed,
		sentinel.EventAdopted, sentinel.EventRights, sentinel.EventFence:
		return true
	case sentinel.EventSlave, sentinel.EventRemovedSlave, sentinel.EventSendNoOne, sentinel.EventReconfSent, sentinel.EventReconfDone, sentinel.EventConvert,
		sentinel.EventFixSlave, sentinel.EventReboot, sentinel.EventRoleChange, sentinel.EventWould, sentinel.EventEvidence, sentinel.EventChosen,
		sentinel.EventSet, sentinel.EventReset:
	}
	return false
}

// posts reports whether an event is given to webhooks: the same, and what mode observe
// would have done.
func posts(name sentinel.EventName) bool { return notifies(name) || name == sentinel.EventWould }
