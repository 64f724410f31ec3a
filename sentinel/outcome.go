package sentinel

// takeDone takes up the outcome of a write.
func (s *State) takeDone(ev Done) {
	if s.drive != nil {
		for key, st := range s.drive.steps {
			if st.id == ev.ID && st.flying {
				s.stepDone(key, st, ev)
				return
			}
		}
	}
	id, ok := s.mend.byID[ev.ID]
	if !ok {
		return
	}
	f := s.mend.flying[id]
	delete(s.mend.byID, ev.ID)
	delete(s.mend.flying, id)
	o := s.obs[id]
	if o == nil {
		return
	}
	switch f.op {
	case OpSetPing:
		s.tuned(o, ev)
		return
	case OpFindLimits, OpSetLimits:
		s.limitsDone(o, f, ev)
		return
	default:
	}
	s.learn(o, ev, f.sent)
	if ev.Result != OutcomeOK {
		s.mend.next[id] = s.now + mendAgain
		s.emit(EventFaulted, o, f.op.String()+" "+ev.Result.String()+": "+ev.Detail)
		return
	}
	if f.op == OpReplicate {
		s.joins()
		s.emit(EventReconfDone, o, "follows "+s.followed(o))
	}
	if f.evict && o.rights.Lacks(RightKill) == "" {
		s.mendWith(o, Do{Op: OpKillClients, Instance: id, Addr: o.addr})
	}
}

// followed is the address that an instance says it follows.
func (s *State) followed(o *observation) string {
	if o.info == nil {
		return "nobody known"
	}
	for _, m := range s.com.Members {
		if m.Addr.Same(o.info.Master) {
			return called(m.Name, m.Addr)
		}
	}
	return o.info.Master.String()
}

func (s *State) stepDone(key stepKey, st *step, ev Done) {
	again := st.tries > 1 && st.result == ev.Result && st.detail == ev.Detail
	st.flying, st.ended, st.unsure = false, s.now, st.unsure || ev.Result == OutcomeUnknown
	st.result, st.info, st.detail = ev.Result, ev.Info, ev.Detail
	o := s.obs[key.instance]
	if o == nil {
		return
	}
	s.learn(o, ev, st.sent)
	if key.op == OpReplicate && ev.Result == OutcomeOK {
		s.joins()
	}
	if ev.Result != OutcomeOK && !again {
		s.emit(EventFaulted, o, key.op.String()+" "+ev.Result.String()+": "+ev.Detail)
	}
}

// learn takes up what an instance said after a write.
func (s *State) learn(o *observation, ev Done, sent Time) {
	o.written = max(o.written, sent)
	if ev.Info == nil {
		s.act(ProbeNow{Master: s.com.Name, Instance: o.id, Rights: ev.Result == OutcomeRefused})
		return
	}
	// The INFO was asked after the write; s.now is the earliest moment that is
	// certainly not before it.
	o.note(Probe{Instance: o.id, Addr: o.addr, Reply: ReplyOK, Asked: s.now, Info: ev.Info}, s.now)
}
