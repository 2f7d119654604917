#include "textflag.h"

#define SYS_clone 220

// func spawn(flags uintptr, stack unsafe.Pointer) (pid int)
TEXT ·spawn(SB), NOSPLIT|NOFRAME, $0-24
	MOVD	flags+0(FP), R0
	MOVD	stack+8(FP), R1
	MOVD	ZR, R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	MOVD	$SYS_clone, R8
	SVC
	CBZ	R0, child
	MOVD	R0, pid+16(FP)
	RET

child:
	// Call as compiled code does through a function value: a direct call would go through a wrapper
	// that the race detector instruments. The callee may use the words on the stack.
	MOVD	0(RSP), R2
	MOVD	8(RSP), R0
	MOVD	16(RSP), R1
	SUB	$32, RSP
	CALL	(R2)
	BRK

// func threadPointer() uintptr
TEXT ·threadPointer(SB), NOSPLIT|NOFRAME, $0-8
	MRS	TPIDR_EL0, R0
	MOVD	R0, ret+0(FP)
	RET
