// Package notify receives what a command says through systemd's notify protocol. Windows has no sockets
// for it.
package notify

import "github.com/kettubot/kapi/internal/fault"

// A Socket receives datagrams.
type Socket struct{}

// Listen returns nil: there is no socket.
func Listen(*fault.Net, string, func([]byte)) (*Socket, error) { return nil, nil }

// Address is never called on Windows.
func (s *Socket) Address() string { return "" }

// Close is never called on Windows.
func (s *Socket) Close() {}
