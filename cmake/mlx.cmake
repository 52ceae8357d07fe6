# The MLX engine: libllmlocal-mlx, a plugin that the library opens at run time, so that nothing else of llmlocal needs
# C++ or MLX. MLX comes from the wheels in LLMLOCAL_MLX_DIR if they are there, else from the system.
#
# macOS: written against the contents of the wheel mlx-metal, and not run. libmlx.dylib there is called @rpath/libmlx.dylib
# and finds its kernels, mlx.metallib, beside itself; its headers need neither metal_cpp nor Xcode's frameworks.
enable_language(CXX)
set(MLX_WHEELS "${LLMLOCAL_MLX_DIR}/mlx")
set(MLX_FILE "${MLX_WHEELS}/lib/libmlx${CMAKE_SHARED_LIBRARY_SUFFIX}")
if(EXISTS "${MLX_FILE}")
  # Not through the wheel's own CMake package: that of the CUDA wheel asks for a CUDA toolkit, which only those need who
  # write kernels.
  add_library(mlx SHARED IMPORTED)
  set_target_properties(mlx PROPERTIES IMPORTED_LOCATION "${MLX_FILE}")
  target_include_directories(mlx SYSTEM INTERFACE "${MLX_WHEELS}/include")
  message(STATUS "MLX: wheels in ${LLMLOCAL_MLX_DIR}")
else()
  find_package(MLX CONFIG REQUIRED)
  target_include_directories(mlx SYSTEM INTERFACE ${MLX_INCLUDE_DIRS})
  message(STATUS "MLX: ${MLX_LIBRARY}")
endif()

# The plugin has copies of the few things that it needs of the layers below: nothing of libllmlocal is exported to it.
set(MLX_SOURCES src/base/arena.c src/base/error.c src/base/mem.c src/base/utf8.c src/formats/dtype.c src/engine/model_desc.c
    src/engine/model_desc_copy.c)
file(GLOB MLX_ENGINE_SOURCES CONFIGURE_DEPENDS src/engine/mlx/*.c src/engine/mlx/*.cpp)
add_library(llmlocal-mlx MODULE ${MLX_SOURCES} ${MLX_ENGINE_SOURCES})
target_include_directories(llmlocal-mlx PRIVATE include src)
target_link_libraries(llmlocal-mlx PRIVATE mlx Threads::Threads m)
set_target_properties(llmlocal-mlx PROPERTIES PREFIX lib SUFFIX "${CMAKE_SHARED_LIBRARY_SUFFIX}" CXX_STANDARD 20
                      CXX_STANDARD_REQUIRED ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
if(NOT APPLE AND NOT LLMLOCAL_SANITIZE)
  target_link_options(llmlocal-mlx PRIVATE -Wl,-z,defs) # what it lacks is found now, not when it is opened
endif()

# Installed, the plugin brings the wheels' libraries along, in the folders in which they look for each other.
install(TARGETS llmlocal-mlx LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/llmlocal COMPONENT mlx)
if(EXISTS "${MLX_FILE}")
  if(APPLE)
    set(MLX_ORIGIN "@loader_path")
  else()
    set(MLX_ORIGIN "$ORIGIN")
  endif()
  set_target_properties(llmlocal-mlx PROPERTIES BUILD_RPATH "${MLX_WHEELS}/lib" INSTALL_RPATH "${MLX_ORIGIN}/mlx/lib")
  install(DIRECTORY "${MLX_WHEELS}/lib" DESTINATION ${CMAKE_INSTALL_LIBDIR}/llmlocal/mlx COMPONENT mlx)
  file(GLOB MLX_MORE_LIBRARIES "${LLMLOCAL_MLX_DIR}/mlx_*.libs" "${LLMLOCAL_MLX_DIR}/nvidia")
  foreach(folder ${MLX_MORE_LIBRARIES})
    install(DIRECTORY "${folder}" DESTINATION ${CMAKE_INSTALL_LIBDIR}/llmlocal COMPONENT mlx)
  endforeach()
else()
  set_target_properties(llmlocal-mlx PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
endif()
