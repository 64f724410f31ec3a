package main

// figure is one line of the table.
type figure struct {
	Scenario string
	Value    string // the name in sample.Values
	Title    string
	Unit     unit
	Target   target
	// Wanted is the target in words.
	Wanted string
}

// unit says how a value is printed.
type unit int

// The units.
const (
	unitUnknown unit = iota
	millis
	count
	percent
	cpu // milliseconds of processor time per second
	megabytes
)

// String is what stands behind the number.
func (u unit) String() string {
	switch u {
	case millis:
		return "ms"
	case percent:
		return "%"
	case cpu:
		return "ms/s"
	case megabytes:
		return "MB"
	case count, unitUnknown:
		return ""
	default:
		return "?"
	}
}

// The names of the scenarios and sides.
const (
	kill    = "kill"
	stop    = "stop"
	planned = "planned"
	leader  = "leader"
	empty   = "empty"
	told    = "told"
	crowded = "crowded"
	answers = "answers"
	hundred = "hundred"
	busy    = "busy"

	sentinelSide = "sentinel"
	triwatchSide = "triwatch"
)

// The names of the values.
const (
	vGap      = "gap_ms"
	vBefore   = "pause_before_ms"
	vAcked    = "acked"
	vLost     = "lost"
	vLostPart = "lost_percent"
	vClient   = "client_gap_ms"

	vLeaderCPU   = "leader_cpu_ms_per_s"
	vFollowerCPU = "follower_cpu_ms_per_s"
	vTrioCPU     = "of_three_cpu_ms_per_s"
	vRedisCPU    = "instances_cpu_ms_per_s"
	vRSS         = "rss_mb"
	vTrioRSS     = "of_three_rss_mb"

	vFailovers = "failovers"
	vKeysLost  = "keys_lost"
	vTold      = "told_ms"
	vAnswers   = "answers_per_s"
)

// figures are all lines, in the order of the table. Beside each target stands what two broken programs would get: one that does
// nothing, and one that acts on every occasion.
func figures() []figure {
	return []figure{
		// Nothing: the gap lasts to the end of the run (over 15 s), and the run fails because no other master is named. Always: it
		// passes here, and is caught by busy.
		{kill, vGap, "killed: longest time without an acknowledged write", millis, atMost(50), "<= 50 ms, aim for 25"},
		{kill, vClient, "killed: the same as a go-redis FailoverClient sees it", millis, target{}, ""},
		// A killed master's last writes may not have reached any replica: nothing is promised. One that promotes an empty or
		// foreign replica loses nearly all that was acknowledged.
		{kill, vLost, "killed: acknowledged writes lost", count, target{}, ""},
		{kill, vAcked, "killed: acknowledged writes in a run", count, target{}, ""},
		{kill, vBefore, "killed: longest pause before the strike (noise)", millis, target{}, ""},

		// Nothing: as above. One that takes the first time-out for a death gets about 300 ms here and fails busy.
		{stop, vGap, "frozen: longest time without an acknowledged write", millis, atMost(1100), "<= 1100 ms"},
		{stop, vLost, "frozen: acknowledged writes lost", count, target{}, ""},

		// Nothing: 0 lost and no gap, but the run fails because the master is not another one. One that promotes first and demotes
		// later loses what the old master acknowledged in between, from some hundreds to most of the writes; one such run is a miss.
		{planned, vLost, "planned: acknowledged writes lost, worst run", count, neverOver(0), "0"},
		{planned, vLostPart, "planned: the same in percent of all in the run", percent, neverOver(0), "0 %"},
		// One that kills the master instead gets what kill gets.
		{planned, vGap, "planned: longest time without an acknowledged write", millis, atMost(25), "<= 25 ms"},
		{planned, vClient, "planned: the same as a go-redis FailoverClient sees it", millis, target{}, ""},
		{planned, vBefore, "planned: longest pause before the strike (noise)", millis, target{}, ""},

		// Nothing, or nobody taking over from the leader: the gap lasts to the end of the run, and the run fails.
		{leader, vGap, "leader killed with the master: longest time without a write", millis, atMost(1500), "<= 1500 ms"},
		{leader, vLost, "leader killed with the master: acknowledged writes lost", count, target{}, ""},

		// Nothing: the replicas copy the empty master, 1 000. Always: 0, it was moved long before; busy catches it.
		{empty, vKeysLost, "killed, back empty after 0.5 s: keys lost of 1 000, worst run", count, neverOver(0), "0"},

		// Nothing: nobody says anything, and the run fails. One that says +switch-master before anybody is promoted names a replica,
		// which the run sees in the end.
		{told, vTold, "killed: promoted until every watcher's subscribers have +switch-master", millis, atMost(20), "<= 20 ms"},

		// Nothing and always: as kill. One that gives every connection a buffer, or answers in the order of arrival, gets slow.
		{crowded, vGap, "killed, 10 000 idle clients and some bad ones: longest time without a write", millis, atMost(50), "<= 50 ms"},
		{crowded, vBefore, "the same: longest pause before the strike (noise)", millis, target{}, ""},

		// Nothing: one that refuses, or answers out of the air, is quick; the run fails on an error reply, and on a wrong address.
		{answers, vAnswers, "get-master-addr-by-name per second, one watcher, 50 connections", count, partOfSentinel(0.8), ">= 80 % of Sentinel's"},

		// Nothing: a watcher that does not probe would use no processor at all; the run waits first until every watcher shows all
		// masters with both replicas, and asks again at the end. Always probing at the suspect pace: five times the figure.
		{hundred, vLeaderCPU, "100 masters: CPU, leader beside one Sentinel alone", cpu, atMostSentinel(), "<= Sentinel's"},
		{hundred, vFollowerCPU, "100 masters: CPU, follower beside one Sentinel alone", cpu, atMostSentinel(), "<= Sentinel's"},
		{hundred, vTrioCPU, "100 masters: CPU, mean of three that watch together", cpu, target{}, ""},
		{hundred, vRSS, "100 masters: memory, largest of three beside one Sentinel alone", megabytes, atMost(60), "<= 60 MB"},
		{hundred, vTrioRSS, "100 masters: memory, largest of three", megabytes, target{}, ""},
		{hundred, vRedisCPU, "100 masters: CPU of all instances under three watchers", cpu, target{}, ""},

		// Nothing: 0, which is right, and no failover after the kill, so that the gap below lasts 30 s and the run fails. Always:
		// starved of processor time, replies come late all the time, and it counts dozens.
		{busy, vFailovers, "busy: failovers while the master lives, worst run", count, neverOver(0), "0"},
		{busy, vGap, "busy: killed in the end, longest time without a write", millis, atMost(5000), "<= 5000 ms"},
		{busy, vBefore, "busy: longest pause while the master lives (noise)", millis, target{}, ""},
	}
}
