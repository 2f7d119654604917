package conns

import (
	"container/list"
	"time"
)

// A side is the connections of strangers, by address, or of signed-in clients, by identity. It is
// guarded by the Set's mu.
type side struct {
	of map[string]*group
	n  int
}

// A group is the connections of one address or identity, oldest first. It is never empty.
type group struct {
	side *side
	name string
	all  list.List // of *Conn
}

func newSide() side { return side{of: make(map[string]*group)} }

func (s *side) count(name string) int {
	if g := s.of[name]; g != nil {
		return g.all.Len()
	}
	return 0
}

func (s *side) add(c *Conn, name string) {
	g := s.of[name]
	if g == nil {
		g = &group{side: s, name: name}
		s.of[name] = g
	}
	c.group, c.place = g, g.all.PushBack(c)
	s.n++
}

func (s *side) remove(c *Conn) {
	g := c.group
	g.all.Remove(c.place)
	c.group, c.place = nil, nil
	s.n--
	if g.all.Len() == 0 {
		delete(s.of, g.name)
	}
}

// biggest returns the group with the most connections. The side must not be empty.
func (s *side) biggest() (most *group) {
	for _, g := range s.of {
		if most == nil || g.all.Len() > most.all.Len() {
			most = g
		}
	}
	return most
}

// first returns the stranger's connection to close first: the oldest idle one, or the oldest if none is
// idle. It goes by age, so that an attacker who keeps connections busy has no advantage over a client
// that has just connected.
func (g *group) first(now time.Time) *Conn {
	idleSince := now.Add(-idleAfter).UnixNano()
	for e := g.all.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*Conn); c.active.Load() <= idleSince {
			return c
		}
	}
	return g.all.Front().Value.(*Conn)
}

// idlest returns the connection that has been silent longest.
func (g *group) idlest() (idlest *Conn) {
	var since int64
	for e := g.all.Front(); e != nil; e = e.Next() {
		c := e.Value.(*Conn)
		if active := c.active.Load(); idlest == nil || active < since {
			idlest, since = c, active
		}
	}
	return idlest
}
