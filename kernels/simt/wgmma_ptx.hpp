// The text of wgmma's PTX, whose operands are up to 128 registers one by one: included by wgmma.hpp, for devices only, and undefined there again.
#define RAPT_PTX_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define RAPT_PTX_8 "%8, %9, %10, %11, %12, %13, %14, %15"
#define RAPT_PTX_16 "%16, %17, %18, %19, %20, %21, %22, %23"
#define RAPT_PTX_24 "%24, %25, %26, %27, %28, %29, %30, %31"
#define RAPT_PTX_32 "%32, %33, %34, %35, %36, %37, %38, %39"
#define RAPT_PTX_40 "%40, %41, %42, %43, %44, %45, %46, %47"
#define RAPT_PTX_48 "%48, %49, %50, %51, %52, %53, %54, %55"
#define RAPT_PTX_56 "%56, %57, %58, %59, %60, %61, %62, %63"
#define RAPT_PTX_64 "%64, %65, %66, %67, %68, %69, %70, %71"
#define RAPT_PTX_72 "%72, %73, %74, %75, %76, %77, %78, %79"
#define RAPT_PTX_80 "%80, %81, %82, %83, %84, %85, %86, %87"
#define RAPT_PTX_88 "%88, %89, %90, %91, %92, %93, %94, %95"
#define RAPT_PTX_96 "%96, %97, %98, %99, %100, %101, %102, %103"
#define RAPT_PTX_104 "%104, %105, %106, %107, %108, %109, %110, %111"
#define RAPT_PTX_112 "%112, %113, %114, %115, %116, %117, %118, %119"
#define RAPT_PTX_120 "%120, %121, %122, %123, %124, %125, %126, %127"

// Operands %0 to %(8 * Eights - 1), as text and as what they are bound to.
#define RAPT_PTX_EIGHTS_4 RAPT_PTX_0 ", " RAPT_PTX_8 ", " RAPT_PTX_16 ", " RAPT_PTX_24
#define RAPT_PTX_EIGHTS_5 RAPT_PTX_EIGHTS_4 ", " RAPT_PTX_32
#define RAPT_PTX_EIGHTS_6 RAPT_PTX_EIGHTS_5 ", " RAPT_PTX_40
#define RAPT_PTX_EIGHTS_7 RAPT_PTX_EIGHTS_6 ", " RAPT_PTX_48
#define RAPT_PTX_EIGHTS_8 RAPT_PTX_EIGHTS_7 ", " RAPT_PTX_56
#define RAPT_PTX_EIGHTS_11 RAPT_PTX_EIGHTS_8 ", " RAPT_PTX_64 ", " RAPT_PTX_72 ", " RAPT_PTX_80
#define RAPT_PTX_EIGHTS_12 RAPT_PTX_EIGHTS_11 ", " RAPT_PTX_88
#define RAPT_PTX_EIGHTS_16 RAPT_PTX_EIGHTS_12 ", " RAPT_PTX_96 ", " RAPT_PTX_104 ", " RAPT_PTX_112 ", " RAPT_PTX_120
#define RAPT_BOUND_8(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define RAPT_BOUND_EIGHTS_4(d) RAPT_BOUND_8(d, 0), RAPT_BOUND_8(d, 8), RAPT_BOUND_8(d, 16), RAPT_BOUND_8(d, 24)
#define RAPT_BOUND_EIGHTS_5(d) RAPT_BOUND_EIGHTS_4(d), RAPT_BOUND_8(d, 32)
#define RAPT_BOUND_EIGHTS_6(d) RAPT_BOUND_EIGHTS_5(d), RAPT_BOUND_8(d, 40)
#define RAPT_BOUND_EIGHTS_7(d) RAPT_BOUND_EIGHTS_6(d), RAPT_BOUND_8(d, 48)
#define RAPT_BOUND_EIGHTS_8(d) RAPT_BOUND_EIGHTS_7(d), RAPT_BOUND_8(d, 56)
#define RAPT_BOUND_EIGHTS_11(d) RAPT_BOUND_EIGHTS_8(d), RAPT_BOUND_8(d, 64), RAPT_BOUND_8(d, 72), RAPT_BOUND_8(d, 80)
#define RAPT_BOUND_EIGHTS_12(d) RAPT_BOUND_EIGHTS_11(d), RAPT_BOUND_8(d, 88)
#define RAPT_BOUND_EIGHTS_16(d) RAPT_BOUND_EIGHTS_12(d), RAPT_BOUND_8(d, 96), RAPT_BOUND_8(d, 104), RAPT_BOUND_8(d, 112), RAPT_BOUND_8(d, 120)

// n columns, a quarter as many accumulators: n / 16 eights. %n0 to %n5: the first operands after the accumulators.
#define RAPT_WGMMA_SHARED(n, eights, type, n0, n1, n2)                                                                    \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %" n2 ", 0; wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type \
               " {" RAPT_PTX_EIGHTS_##eights "}, %" n0 ", %" n1 ", p, 1, 1, 0, 0; }"                                      \
               : RAPT_BOUND_EIGHTS_##eights(acc)                                                                          \
               : "l"(a.bits), "l"(b.bits), "r"(static_cast<int>(adds)))
#define RAPT_WGMMA_REGISTERS(n, eights, type, n0, n1, n2, n3, n4, n5)                                                     \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %" n5 ", 0; wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type \
               " {" RAPT_PTX_EIGHTS_##eights "}, {%" n0 ", %" n1 ", %" n2 ", %" n3 "}, %" n4 ", p, 1, 1, 1; }"            \
               : RAPT_BOUND_EIGHTS_##eights(acc)                                                                          \
               : "r"(a.registers[0]), "r"(a.registers[1]), "r"(a.registers[2]), "r"(a.registers[3]), "l"(b.bits), "r"(static_cast<int>(adds)))
