// Package notify takes what a command says through systemd's notify protocol, which Windows
// has no sockets for.
package notify

import "github.com/kettubot/kapi/internal/fault"

// A Socket receives datagrams.
type Socket struct{}

// Listen returns nil.
func Listen(*fault.Net, string, func([]byte)) (*Socket, error) { return nil, nil }

// Address is never called.
func (s *Socket) Address() string { return "" }

// Close is never called.
func (s *Socket) Close() {}
