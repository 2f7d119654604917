#include "textflag.h"

#define SYS_clone 56
#define SYS_arch_prctl 158
#define ARCH_GET_FS 0x1003

// func spawn(flags uintptr, stack unsafe.Pointer) (pid int)
TEXT ·spawn(SB), NOSPLIT, $0-24
	MOVQ	flags+0(FP), DI
	MOVQ	stack+8(FP), SI
	XORQ	DX, DX
	XORQ	R10, R10
	XORQ	R8, R8
	MOVQ	$SYS_clone, AX
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, pid+16(FP)
	RET

child:
	// Call as compiled code does through a function value: a direct call would go through a wrapper
	// that the race detector instruments. R14 is unchanged; the callee may use the words on the stack.
	MOVQ	SP, DX
	MOVQ	0(DX), CX
	MOVQ	8(DX), AX
	MOVQ	16(DX), BX
	XORPS	X15, X15
	CALL	CX
	INT	$3

// func threadPointer() uintptr
TEXT ·threadPointer(SB), NOSPLIT, $0-8
	MOVQ	$0, ret+0(FP)
	MOVQ	$ARCH_GET_FS, DI
	LEAQ	ret+0(FP), SI
	MOVQ	$SYS_arch_prctl, AX
	SYSCALL
	RET
