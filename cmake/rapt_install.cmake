# What `cmake --install` puts down: headers, library, the CMake package (rapt::rapt, rapt::cuda) and rapt.pc.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(RAPT_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/rapt")
set(libraries rapt)
if(RAPT_HAS_CUDA)
  list(APPEND libraries rapt_cuda)
endif()
install(TARGETS ${libraries} EXPORT rapt_targets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/rapt" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(EXPORT rapt_targets NAMESPACE rapt:: FILE rapt-targets.cmake DESTINATION "${RAPT_PACKAGE_DIR}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/rapt-config.cmake.in" "${PROJECT_BINARY_DIR}/rapt-config.cmake"
                              INSTALL_DESTINATION "${RAPT_PACKAGE_DIR}")
# Until 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/rapt-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/rapt-config.cmake" "${PROJECT_BINARY_DIR}/rapt-config-version.cmake" "${PROJECT_SOURCE_DIR}/cmake/FindxxHash.cmake"
        DESTINATION "${RAPT_PACKAGE_DIR}")

# A relocated tree still finds itself: paths in rapt.pc are relative to where it lies.
file(RELATIVE_PATH RAPT_PC_PREFIX "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
if(BUILD_SHARED_LIBS)
  set(RAPT_PC_CFLAGS "-DRAPT_SHARED")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/rapt.pc.in" "${PROJECT_BINARY_DIR}/rapt.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/rapt.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
