//go:build !cgo

package supervise

// droppable is where a process may give memory back: anywhere. Go's runtime has told the kernel of
// none that it would miss.
func droppable() span { return span{0, ^uintptr(0)} }
